_base_ = './mask-rcnn_r50-caffe_fpn_2x_coco.py'
