_base_ = './schedule_1x.py'
train_cfg = dict(max_epochs=24)
_base_.param_scheduler[1].end = 24
_base_.param_scheduler[1].milestones = [16, 22]
