# GN in backbone, FPN and heads, 4conv1fc box head; the stride of a block in its 3x3 convolution.
_base_ = './faster_rcnn_r50_fpn_gn.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
