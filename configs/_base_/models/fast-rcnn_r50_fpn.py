# Fast R-CNN with FPN, on proposals from a file: the model of mmdetection's fast-rcnn_r50_fpn.
_base_ = './faster-rcnn_r50_fpn.py'
model = dict(
    _delete_=True,
    type='FastRCNN',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    roi_head=_base_.model.roi_head,
    train_cfg=dict(rcnn=_base_.model.train_cfg.rcnn),
    test_cfg=dict(rcnn=_base_.model.test_cfg.rcnn))
