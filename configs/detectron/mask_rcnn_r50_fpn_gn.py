# GN in backbone, FPN and heads, a 4conv1fc box head; a block's 3x3 convolution has its stride.
# The model of Detectron's e2e_mask_rcnn_R-50-FPN_2x_gn.
_base_ = './mask_rcnn_r50_fpn.py'
norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    backbone=dict(
        norm_cfg=dict(_delete_=True, **norm_cfg),
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://detectron/resnet50_gn')),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg)))
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.))
