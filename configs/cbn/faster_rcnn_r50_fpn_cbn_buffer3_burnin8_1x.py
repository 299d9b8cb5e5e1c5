# CBN over 4 iterations in FPN and box head; BN for the first 8 epochs, until the learning rate drops.
# The published code means 8 epochs but counts 8 iterations. burnin_iters=8 in place of burnin=8 repeats that.
_base_ = './faster_rcnn_r50_fpn_1x.py'
norm_cfg = dict(type='CBN', buffer_num=3, burnin=8, requires_grad=True)
model = dict(neck=dict(norm_cfg=norm_cfg), roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg)))
