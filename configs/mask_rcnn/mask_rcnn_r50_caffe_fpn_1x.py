_base_ = './mask-rcnn_r50-caffe_fpn_1x_coco.py'
