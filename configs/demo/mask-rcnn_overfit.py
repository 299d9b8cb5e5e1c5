# Learns a handful of pictures by heart, from scratch, on a CPU: a check of your annotations or of a change to the code.
# Put the pictures and their annotations, instances.json, into data/few (or change data_root), and set num_classes.
_base_ = './mask-rcnn_demo_256.py'

num_classes = 80
model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))

data_root = 'data/few/'
ann_file = 'instances.json'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        _delete_=True, type='RepeatDataset', times=200,
        dataset=dict(
            type='CocoDataset', data_root=data_root, ann_file=ann_file, data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=True), pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _delete_=True, type='CocoDataset', data_root=data_root, ann_file=ann_file, data_prefix=dict(img=''),
        test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + ann_file)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=2, eta_min=1e-5, convert_to_iter_based=True)
]
