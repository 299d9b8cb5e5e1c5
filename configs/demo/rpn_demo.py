# The demo's Region Proposal Network by itself; its figures are recalls (AR).
_base_ = './faster-rcnn_demo.py'
model = dict(
    _delete_=True,
    type='RPN',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    rpn_head=_base_.model.rpn_head,
    train_cfg=dict(rpn=_base_.model.train_cfg.rpn),
    test_cfg=dict(rpn=dict(_base_.model.test_cfg.rpn, max_per_img=150)))
val_evaluator = dict(metric='proposal')
test_evaluator = val_evaluator
