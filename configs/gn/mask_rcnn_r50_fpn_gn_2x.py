_base_ = './mask-rcnn_r50_fpn_gn-all_2x_coco.py'
