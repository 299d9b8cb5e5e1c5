_base_ = './faster-rcnn_r101_fpn_2x_coco.py'
