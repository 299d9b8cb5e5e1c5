_base_ = './mask-rcnn_r101_fpn_gn-all_3x_coco.py'
