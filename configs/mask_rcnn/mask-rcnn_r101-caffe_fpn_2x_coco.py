_base_ = './mask-rcnn_r50-caffe_fpn_2x_coco.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe')))
