# One training that uses every part of this folder, and its norm everywhere.
_base_ = '../../configs/_base_/default_runtime.py'
custom_imports = dict(imports=[f'own.{part}' for part in (
    'dataset', 'transform', 'backbone', 'neck', 'head', 'loss', 'metric', 'norm', 'hook')])

classes = ('circle', 'square')
norm_cfg = dict(type='PixelNorm')
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.] * 3, bgr_to_rgb=True, pad_size_divisor=32,
                           type='DetDataPreprocessor'),
    backbone=dict(type='SmallNet', channels=16, norm_cfg=norm_cfg),
    neck=dict(type='PlainNeck', in_channels=[16, 32, 64, 128], out_channels=32, norm_cfg=norm_cfg),
    rpn_head=dict(
        type='RPNHead', in_channels=32, feat_channels=32,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1., 2.], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=32, featmap_strides=[4, 8, 16, 32]),
        bbox_head=dict(
            type='CosineBBoxHead', in_channels=32, fc_out_channels=64, num_classes=2,
            loss_cls=dict(type='SoftmaxFocalLoss', gamma=2.))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                          match_low_quality=False),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.25, add_gt_as_proposals=True))),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)))

dataset = dict(type='CsvDataset', data_root='data/csv/', ann_file='objects.csv', data_prefix=dict(img='pictures/'),
               metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='RandomGamma', largest=1.5),
        dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, test_mode=True, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')]))
val_evaluator = dict(type='CountError', score_thr=0.5)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
val_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001))
custom_hooks = [dict(type='SlowestStepHook')]
