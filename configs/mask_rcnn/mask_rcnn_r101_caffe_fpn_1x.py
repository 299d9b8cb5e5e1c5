_base_ = './mask-rcnn_r101-caffe_fpn_1x_coco.py'
