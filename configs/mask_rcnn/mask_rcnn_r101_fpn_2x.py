_base_ = './mask-rcnn_r101_fpn_2x_coco.py'
