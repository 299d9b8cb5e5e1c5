# CBN in the backbone too. Only the stem and the first stage are frozen.
_base_ = './mask_rcnn_r50_fpn_cbn_buffer3_burnin8_1x.py'
model = dict(backbone=dict(norm_cfg=_base_.norm_cfg, norm_eval=False))
