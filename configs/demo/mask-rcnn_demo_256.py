# The demo with which docs/norms.md compares norms: GN, a whole ResNet, wider heads, larger pictures, more samples.
_base_ = './mask-rcnn_demo.py'
norm_cfg = dict(type='GN', num_groups=8)
model = dict(
    backbone=dict(num_stages=4, out_indices=(0, 1, 2, 3), norm_cfg=norm_cfg),
    neck=dict(in_channels=[32, 64, 128, 256], norm_cfg=norm_cfg),
    rpn_head=dict(feat_channels=64),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg), mask_head=dict(num_convs=2, norm_cfg=norm_cfg)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(max_per_img=150)))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (256, 256)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(val_interval=4)
