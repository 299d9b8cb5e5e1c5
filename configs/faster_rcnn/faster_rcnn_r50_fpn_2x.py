_base_ = './faster-rcnn_r50_fpn_2x_coco.py'
