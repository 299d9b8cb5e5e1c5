# Detectron's e2e_faster_rcnn_R-50-FPN: frozen affine BN, 2fc box head.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn_detectron.py', '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_2x.py', '../_base_/default_runtime.py'
]
