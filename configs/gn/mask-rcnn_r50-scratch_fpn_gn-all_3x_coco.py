# Detectron's scratch_e2e_mask_rcnn_R-50-FPN_3x_gn. The weights start random, so none may be frozen.
_base_ = './mask-rcnn_r50_fpn_gn-all_3x_coco.py'
model = dict(backbone=dict(frozen_stages=-1, zero_init_residual=False, init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.))
