_base_ = './mask-rcnn_r50_fpn_2x_coco.py'
