# Mask R-CNN with FPN by Detectron's conventions.
_base_ = './faster-rcnn_r50_fpn_detectron.py'
model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, **_base_.roi_layer),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
            offset=1),
        mask_head=dict(type='FCNMaskHead', num_convs=4, in_channels=256, conv_out_channels=256, num_classes=80)),
    train_cfg=dict(rcnn=dict(mask_size=28)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)))
