"""Mistakes in a config are named with the key, before anything is built."""
from pathlib import Path

import pytest

from mmdet.engine.check_config import check_config
from mmdet.engine.config import read_config
from mmdet.errors import UserError
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

CONFIG = str(Path(__file__).parents[2] / 'configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
NAN = float('nan')


def cfg(**options):
    return read_config(CONFIG, {key.replace('__', '.'): value for key, value in options.items()})


MISTAKES = [
    ('model.test_cfg.rcnn.score_thresh', 0.1, "has no key 'score_thresh'. Did you mean 'score_thr'"),
    ('model.train_cfg.rpn.debugg', True, "Did you mean 'debug'"),
    ('model.test_cfg.rpn.nms.iou_treshold', 0.5, "Did you mean 'iou_threshold'"),
    ('train_dataloader.dataset.filter_cfg.min_sise', 3, "Did you mean 'min_size'"),
    ('val_dataloader.dataset.metainfo', dict(clases=('a',)), "Did you mean 'classes'"),
    ('env_cfg.mp_cfg.opencv_threads', 0, "Did you mean 'opencv_num_threads'"),
    ('train_dataloader.batchsize', 2, "Did you mean 'batch_size'"),
    ('optim_wrapper.paramwise_cfg', dict(custom_keys=dict(backbone=dict(lr_mul=0.1))), "Did you mean 'lr_mult'"),
    ('test_cfg.fp', True, "no key 'fp'.*Did you mean 'fp16'"),
    ('model.test_cfg.rcnn.score_thr', NAN, 'is nan'), ('model.backbone.weights.anything', [NAN], 'is nan'),
    ('model.test_cfg.rcnn.score_thr', 5, 'number from 0 to 1'), ('model.test_cfg.rcnn.max_per_img', 0, 'must be'),
    ('model.test_cfg.rcnn.nms.iou_threshold', -0.1, 'from 0 to 1'), ('model.neck.num_outs', 0, 'at least 1'),
    ('model.rpn_head.anchor_generator.scales', [8, 0], 'above 0'), ('model.neck.norm_cfg.num_groups', 0, 'at least 1'),
    ('model.rpn_head.anchor_generator.ratios', 'wide', 'above 0'), ('train_cfg.max_epochs', 0, 'at least 1'),
    ('train_cfg.max_iters', 2.5, 'a whole number'), ('model.train_cfg.rpn.sampler.num', 256.0, 'a whole number'),
    ('optim_wrapper.optimizer.lr', 'abc', 'a number'),
    ('optim_wrapper.optimizer.momentum', -1, 'from 0 to 1'), ('train_dataloader.batch_size', 0, 'at least 1'),
    ('val_dataloader.num_workers', -1, 'at least 0'),
    ('train_dataloader.dataset.pipeline.2.scale', (0, 800), 'at least 1'),
    ('model.roi_head.mask_head.num_classes', 7, 'bbox_head.num_classes is 80'),
    ('model.rpn_head.in_channels', 128, 'neck.out_channels is 256'),
    ('model.backbone.depth', 18, 'neck.in_channels is'), ('model.data_preprocessor.mean', [1], '3 numbers'),
    ('model.roi_head.bbox_head.roi_feat_size', 14, 'output_size is 7'),
    ('default_hooks.checkpoint.save_best', 'bbox_mAP', "Did you mean 'coco/bbox_mAP'"),
    ('default_hooks.checkpoint.save_best', 'coco/segm_mAP_50s', "Did you mean 'coco/segm_mAP_50'"),
    ('custom_hooks', [dict(type='EarlyStoppingHook', monitor='bbox_mAP')],
     "custom_hooks.0.monitor='bbox_mAP' (.|\n)*Did you mean 'coco/bbox_mAP'"),
    ('custom_hooks', [dict(type='EarlyStoppingHook', monitor='val_loss')], 'val_cfg.loss=True adds the losses'),
    ('log_level', 'LOUD', 'DEBUG'), ('env_cfg.mp_cfg.opencv_num_threads', 'abc', 'a whole number'),
    ('train_cfg', 3, 'must be a dict'), ('optim_wrapper', [1], 'must be a dict'),
    ('val_evaluator', 3, 'dict or a list'), ('model_wrapper_cfg', 'bfloat16', 'must be a dict'),
    ('model.train_cfg.rcnn.mask_capacity', 0, 'at least 1'),
    ('custom_hooks', dict(type='CBNHook'), 'must be a list'), ('train_cfg.by_epoch', 'yes', 'True or False'),
    ('train_dataloader.dataset.data_prefix.imgx', 1, 'data_prefix.imgx is 1'), ('model.neck', None, '4 levels'),
    ('default_scope', 'other', 'no package of that name'),
]


def test_the_key_is_named(subtests):
    for key, value, message in MISTAKES:
        with subtests.test(key):
            with pytest.raises(UserError, match=message) as caught:
                check_config(read_config(CONFIG, {key: value}))
            assert key.partition('.')[0] in str(caught.value)


def test_what_mmdetection_knows_passes():
    check_config(read_config(CONFIG, {
        'model.test_cfg.rcnn.max_per_img': -1, 'model.test_cfg.rpn.nms_post': 1000, 'model.train_cfg.rcnn.debug': True,
        'optim_wrapper.loss_scale': 'dynamic', 'optim_wrapper.clip_grad': dict(max_norm=35, norm_type=2),
        'default_hooks.checkpoint.save_best': 'auto', 'default_hooks.checkpoint.interval': -1,
        'train_dataloader.dataset.metainfo': dict(classes=('a',), palette=[(1, 2, 3)])}))


def test_workers_that_are_not_there_need_no_options():
    changed = read_config(CONFIG, {'train_dataloader.num_workers': 0, 'train_dataloader.prefetch_factor': 2})
    assert changed.train_dataloader.persistent_workers
    check_config(changed)
    assert 'persistent_workers' not in changed.train_dataloader and 'prefetch_factor' not in changed.train_dataloader
    assert changed.val_dataloader.persistent_workers


def test_errors_of_what_is_built_tell_the_place():
    register_all_modules()
    changed = cfg(model__backbone__depht=50)
    check_config(changed)
    with pytest.raises(UserError, match=r"no key 'depht' \(config key model.backbone\)"):
        MODELS.build(changed.model)
    changed = cfg(model__rpn_head__anchor_generator__center_offset=[1])
    check_config(changed)
    with pytest.raises(UserError, match=r'takes a number as center_offset \(config key model.rpn_head.anchor_gen'):
        MODELS.build(changed.model)
