# Faster R-CNN with FPN by Detectron's conventions: a box's width is x2 - x1 + 1, anchors are rounded, RoIAlign has
# no half-pixel shift, images are BGR minus a mean, and a block's first 1x1 convolution has its stride.
_base_ = './faster-rcnn_r50_fpn.py'
bbox_coder = dict(type='LegacyDeltaXYWHBBoxCoder', detectron=True)
roi_layer = dict(sampling_ratio=2, aligned=False)
model = dict(
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717], std=[1., 1., 1.], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(type='FrozenBN', requires_grad=False),  # only a scale and a shift
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe')),
    rpn_head=dict(
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5, detectron=True),
        bbox_coder=bbox_coder,
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9)),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=roi_layer, offset=1),
        bbox_head=dict(bbox_coder=bbox_coder, loss_bbox=dict(type='SmoothL1Loss', beta=1.))),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000, nms=dict(offset=1), min_bbox_size=-1)),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(offset=1), min_bbox_size=-1),
        rcnn=dict(score_thr=0.05, nms=dict(iou_threshold=0.5, offset=1), max_per_img=100)))
