_base_ = './mask-rcnn_r50_fpn_gn-all_2x_coco.py'
train_cfg = dict(max_epochs=36)
_base_.param_scheduler[1].end = 36
_base_.param_scheduler[1].milestones = [28, 34]
