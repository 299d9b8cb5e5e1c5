_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
