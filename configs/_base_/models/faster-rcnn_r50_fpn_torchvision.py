# Faster R-CNN with FPN by torchvision's conventions: rounded anchors, RoIAlign without the half-pixel shift.
_base_ = './faster-rcnn_r50_fpn.py'
roi_layer = dict(sampling_ratio=2, aligned=False)
model = dict(
    backbone=dict(norm_cfg=dict(type='FrozenBN', requires_grad=False)),
    rpn_head=dict(
        anchor_generator=dict(type='TorchvisionAnchorGenerator'), loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9)),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=roi_layer), bbox_head=dict(loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9))),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000, min_bbox_size=1e-3)),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, min_bbox_size=1e-3),
        rcnn=dict(score_thr=0.05, nms=dict(iou_threshold=0.5), max_per_img=100)))
