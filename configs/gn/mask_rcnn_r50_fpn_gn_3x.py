_base_ = './mask-rcnn_r50_fpn_gn-all_3x_coco.py'
