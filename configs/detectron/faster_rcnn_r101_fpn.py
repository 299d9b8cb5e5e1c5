# Detectron's e2e_faster_rcnn_R-101-FPN: frozen affine BN, 2fc box head.
_base_ = './faster_rcnn_r50_fpn.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe')))
