# 12 epochs of the CBN recipe: gradients clipped, warmup from a third of the learning rate.
_base_ = './schedule_1x.py'
_base_.param_scheduler[0].start_factor = 1 / 3
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
