# GN in backbone, FPN and heads, 4conv1fc box head; the stride of a block in its 3x3 convolution.
# The model of Detectron's e2e_mask_rcnn_R-101-FPN_2x_gn.
_base_ = './mask_rcnn_r50_fpn_gn.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
