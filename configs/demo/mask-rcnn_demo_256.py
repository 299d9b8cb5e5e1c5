# The demo with which docs/norms.md compares norms: larger pictures, more samples of each; it takes 1.7 times as long.
_base_ = './mask-rcnn_demo.py'
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num=64))))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (256, 256)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
