# torchvision's maskrcnn_resnet50_fpn, COCO_V1.
# The checkpoint has 90 classes (label + 1 is the COCO category id; ten are unused). This config reads the 80 that
# COCO has. To read all 90:
#   --cfg-options model.roi_head.bbox_head.num_classes=90 model.roi_head.mask_head.num_classes=90
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn_torchvision.py', '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_2x.py', '../_base_/default_runtime.py'
]
