# GN in backbone, FPN and heads, a 4conv1fc box head; a block's 3x3 convolution has its stride.
_base_ = './faster_rcnn_r50_fpn_gn.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
