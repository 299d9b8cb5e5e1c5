_base_ = './mask-rcnn_r50-scratch_fpn_gn-all_3x_coco.py'
