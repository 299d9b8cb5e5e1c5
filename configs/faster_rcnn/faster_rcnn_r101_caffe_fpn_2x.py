_base_ = './faster-rcnn_r101-caffe_fpn_2x_coco.py'
