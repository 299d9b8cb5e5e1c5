_base_ = './mask-rcnn_r101_fpn_gn-all_2x_coco.py'
