# The demo with objects of a second image pasted into each.
_base_ = './mask-rcnn_demo.py'
train_dataset = _base_.train_dataloader.dataset
train_dataset.pipeline = [*_base_.train_pipeline[:-1], dict(type='Pad', size=(224, 224))]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=train_dataset,
        pipeline=[dict(type='CopyPaste', mask_occluded_thr=30), dict(type='PackDetInputs')]))
