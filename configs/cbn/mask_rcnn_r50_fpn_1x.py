# The recipe of the CBN paper's code, here without norms: 4 GPUs of 4 images, frozen backbone BN, 4conv1fc box head.
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py', '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x_clip.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True, frozen_stages=1),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=256)))
train_dataloader = dict(batch_size=4, num_workers=4)
