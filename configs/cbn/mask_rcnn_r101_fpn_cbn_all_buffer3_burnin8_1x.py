_base_ = './mask_rcnn_r50_fpn_cbn_all_buffer3_burnin8_1x.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
