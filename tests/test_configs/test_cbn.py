"""The recipes of configs/cbn, by the figures of the paper's code."""
from pathlib import Path

import pytest

from mmdet.engine.config import read_config

CONFIGS = Path(__file__).parents[2] / 'configs/cbn'
NORMS = dict(plain=None, syncbn='SyncBN', gn='GN', cbn_buffer3_burnin8='CBN', cbn_all_buffer3_burnin8='CBN')
EVERY = sorted(path.stem for path in CONFIGS.glob('*.py'))


def test_every_recipe_is_there():
    names = {f'{model}_rcnn_r50_fpn{norm}_1x' for model in ('faster', 'mask')
             for norm in ('', '_syncbn', '_gn', '_cbn_buffer3_burnin8')}
    assert names | {f'mask_rcnn_r{depth}_fpn_cbn_all_buffer3_burnin8_1x' for depth in (50, 101)} == set(EVERY)


@pytest.mark.parametrize('name', EVERY)
def test_recipe(name):
    cfg = read_config(str(CONFIGS / f'{name}.py'))
    norm = NORMS[name.split('fpn_')[1].removesuffix('1x').removesuffix('_') or 'plain']
    warmup, steps = cfg.param_scheduler
    assert (warmup.start_factor, warmup.begin, warmup.end, warmup.by_epoch) == (1 / 3, 0, 500, False)
    assert steps.milestones == [8, 11] and cfg.train_cfg.max_epochs == 12
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=35, norm_type=2)
    assert cfg.train_dataloader.batch_size == 4
    resize, = (step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Resize')
    assert tuple(resize.scale) == (1333, 800)
    backbone = cfg.model.backbone
    assert backbone.frozen_stages == 1 and backbone.init_cfg.checkpoint == f'torchvision://resnet{backbone.depth}'
    if 'all' in name:
        assert backbone.norm_cfg.type == 'CBN' and not backbone.norm_eval
    else:
        assert backbone.norm_cfg == dict(type='BN', requires_grad=False) and backbone.norm_eval
    heads = cfg.model.roi_head
    assert heads.bbox_head.type == 'Shared4Conv1FCBBoxHead'
    for place in (cfg.model.neck, heads.bbox_head, *([heads.mask_head] if name.startswith('mask') else [])):
        assert (place.get('norm_cfg') or {}).get('type') == norm
        if norm == 'CBN':
            assert (place.norm_cfg.buffer_num, place.norm_cfg.burnin) == (3, 8)
