import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet.engine.norm_option import NORMS, apply_norm
from mmdet.models.layers import BN, CBN, GN, FrozenBN, SyncBN
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = dict(BN=BN, FrozenBN=FrozenBN, SyncBN=SyncBN, GN=GN, CBN=CBN)


def norms_by_place(cfg):
    register_all_modules()
    with torch.device('meta'):  # no memory, no time
        model = MODELS.build(cfg.model)
    kinds = {}
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.modules.batchnorm._BatchNorm, torch.nn.GroupNorm)):
            place = 'backbone' if name.startswith('backbone') else name.split('.')[-4 if 'head' in name else 0]
            kinds.setdefault(place, []).append(type(module))
    return {place: (set(types), len(types)) for place, types in kinds.items()}


@pytest.mark.parametrize('norm', NORMS)
def test_mask_rcnn(norm):
    cfg = Config.fromfile(CONFIGS / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    backbone = copy.deepcopy(cfg.model.backbone)
    apply_norm(cfg, norm)
    assert cfg.model.backbone == backbone
    assert norms_by_place(cfg) == dict(backbone=({BN}, 53), neck=({CLASSES[norm]}, 8),
                                       bbox_head=({CLASSES[norm]}, 4), mask_head=({CLASSES[norm]}, 4))
    assert Config.fromstring(cfg.dump(), '.py').model == cfg.model  # what is written beside the log


def test_faster_rcnn_has_no_mask_head():
    cfg = Config.fromfile(CONFIGS / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    apply_norm(cfg, 'GN')
    assert set(norms_by_place(cfg)) == {'backbone', 'neck', 'bbox_head'}


def test_a_list_of_necks():
    cfg = Config.fromfile(CONFIGS / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    cfg.model.neck = [cfg.model.neck, dict(type='BFP', in_channels=256, num_levels=5, refine_type='non_local')]
    apply_norm(cfg, 'GN')
    assert {neck.norm_cfg.type for neck in cfg.model.neck} == {'GN'}
    assert norms_by_place(cfg)['neck'] == ({GN}, 9)


def test_a_backbone_that_trains_its_norms_gets_it_too_and_options_of_the_same_type_stay():
    cfg = Config.fromfile(CONFIGS / 'demo/mask-rcnn_demo_256.py')
    groups = cfg.model.neck.norm_cfg.num_groups
    apply_norm(cfg, 'GN')
    assert cfg.model.neck.norm_cfg.num_groups == cfg.model.roi_head.mask_head.norm_cfg.num_groups == groups != 32
    apply_norm(cfg, 'CBN')
    apply_norm(cfg, 'CBN')
    kinds = norms_by_place(cfg)
    assert set(kinds) == {'backbone', 'neck', 'bbox_head', 'mask_head'}
    assert all(types == {CBN} for types, _ in kinds.values())


@pytest.mark.parametrize(('train_cfg', 'expected'), [
    (dict(max_epochs=12), dict(burnin=8)),
    (dict(type='IterBasedTrainLoop', max_iters=90000), dict(burnin_iters=60000))])
def test_cbn_begins_after_two_thirds_of_the_training(train_cfg, expected):
    cfg = Config.fromfile(CONFIGS / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.train_cfg = train_cfg
    apply_norm(cfg, 'CBN')
    assert cfg.model.neck.norm_cfg == dict(type='CBN', buffer_num=3, requires_grad=True, **expected)
    assert norms_by_place(cfg)['neck'] == ({CBN}, 8)


def test_mistakes_are_named():
    cfg = Config(dict(model=dict(type='RPN', neck=dict())))
    with pytest.raises(ValueError, match='--norm LN: known are BN'):
        apply_norm(cfg, 'LN')
    with pytest.raises(ValueError, match='it changes necks.*RPN, has none'):
        apply_norm(cfg, 'GN')
