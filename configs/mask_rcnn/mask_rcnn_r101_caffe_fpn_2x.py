_base_ = './mask-rcnn_r101-caffe_fpn_2x_coco.py'
