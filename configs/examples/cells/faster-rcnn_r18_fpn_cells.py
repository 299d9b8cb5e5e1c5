# Faster R-CNN trained from scratch on 292 photographs of blood cells: README.md beside this.
_base_ = ['../../_base_/models/faster-rcnn_r50_fpn.py', '../../_base_/default_runtime.py']

norm_cfg = dict(type='BN')  # 2 squares a step are enough for it: docs/cells.md
model = dict(
    backbone=dict(
        depth=18, base_channels=32, frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, init_cfg=None,
        zero_init_residual=False),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, norm_cfg=norm_cfg),
    # At 320 pixels platelets are 20 pixels wide, red cells 50, white cells 95: 24, 48 and 96 of the first three levels.
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[6])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28),
        bbox_head=dict(
            type='ConvFCBBoxHead', num_shared_convs=2, num_shared_fcs=1, in_channels=64, conv_out_channels=64,
            fc_out_channels=256, num_classes=3, norm_cfg=norm_cfg)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=150),
        rcnn=dict(sampler=dict(num=64, pos_fraction=0.5))),
    # Cells touch and overlap: soft-NMS lowers the score of a neighbour instead of dropping it.
    test_cfg=dict(
        rpn=dict(nms_pre=300, max_per_img=150),
        rcnn=dict(score_thr=0.01, nms=dict(type='soft_nms', iou_threshold=0.5, min_score=0.01))))

data_root = 'data/cells/'
part = dict(type='XMLDataset', data_root=data_root, metainfo=dict(classes=('RBC', 'WBC', 'Platelets')))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(320, 240), ratio_range=(0.8, 1.25), keep_ratio=True),
    # A square costs a fifth less than the whole picture, which is padded to 320 x 256, and can be turned.
    dict(type='RandomCrop', crop_size=(256, 256), allow_negative_crop=True),
    dict(type='Pad', size=(256, 256), pad_val=dict(img=(114, 114, 114))),
    dict(type='Rotate', prob=0.5, min_mag=90, max_mag=90),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'))
]
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='ImageSets/Main/trainval.txt', pipeline=train_pipeline, **part))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='ImageSets/Main/test.txt', test_mode=True, pipeline=test_pipeline, **part))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox', classwise=True)
test_evaluator = val_evaluator

max_epochs = 23
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05),
    clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, eta_min=5e-6, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=2)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=max_epochs))
randomness = dict(seed=0)
