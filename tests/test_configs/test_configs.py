"""Every config of the repository builds its model, trains a step and predicts; names and recipes are right."""
import importlib.util
import sys
from pathlib import Path

import pytest

from mmdet.engine.config import innermost, read_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.relative_to(ROOT / 'configs') for path in (ROOT / 'configs').rglob('*.py')
                 if '_base_' not in path.parts)
SHORT_NAME = Path('mask_rcnn/mask_rcnn_r50_fpn_1x.py')  # README's; the same as mask-rcnn_r50_fpn_1x_coco.py


sys.path.append(str(ROOT / 'tools'))  # behind all others: its test.py is not Python's


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_masks_are_read_where_they_are_trained(cfg):
    with_mask = cfg.model.type == 'MaskRCNN'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        steps = {step.type: step for step in innermost(loader.dataset).pipeline}
        assert steps['LoadAnnotations'].get('with_mask', False) == with_mask
    assert ('segm' in cfg.val_evaluator.metric) == with_mask


NARROW = 4  # not less: of 4 channels the backward of PyTorch 2.15's strided 1 x 1 convolution writes past its memory


def widths(node, name='model'):
    """Dotted keys of a config's numbers of channels and groups, with a fourth of each."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if str(key).endswith(('channels', 'num_groups')) and value:
            yield f'{name}.{key}', [side // NARROW for side in value] if isinstance(value, list) else value // NARROW
        elif isinstance(value, (dict, list)):
            yield from widths(value, f'{name}.{key}')


CHECKED = {}


@pytest.mark.parametrize('path', [path for path in CONFIGS if path != SHORT_NAME], ids=str)
def test_builds_trains_and_predicts(path, monkeypatch, tmp_path):
    """A fourth as wide. One that differs from another in its schedule alone is not trained again."""
    monkeypatch.chdir(tmp_path)
    path = ROOT / 'configs' / path
    cfg, check_configs = read_config(str(path)), load_tool('check_configs')
    assert_masks_are_read_where_they_are_trained(cfg)
    check_configs.check_names(cfg)
    cfg.model.backbone.init_cfg = None
    what = str([cfg.model, cfg.optim_wrapper, cfg.train_dataloader.dataset, cfg.test_dataloader.dataset])
    if what not in CHECKED:
        wide = 'base_channels' not in cfg.model.backbone
        narrow = {'model.backbone.base_channels': 64 // NARROW, **dict(widths(cfg.model))} if wide else {}
        CHECKED[what] = check_configs.check(path, narrow)
    parameters, loss, detections = CHECKED[what]
    assert parameters > 0.3 and 0 < loss < 100 and detections > 0


def test_short_name():
    long_name = SHORT_NAME.with_name('mask-rcnn_r50_fpn_1x_coco.py')
    short, long = (read_config(str(ROOT / 'configs' / path)) for path in (SHORT_NAME, long_name))
    assert short.to_dict() == long.to_dict()


def test_a_wrong_name_is_told_the_nearest_ones():
    with pytest.raises(FileNotFoundError, match='did you mean .*mask-rcnn_r101_fpn_2x_coco.py'):
        read_config(str(ROOT / 'configs/mask_rcnn/mask_rcnn_r101_fpn_2x.py'))
    with pytest.raises(FileNotFoundError, match='nothing.py does not exist$'):
        read_config(str(ROOT / 'nowhere/nothing.py'))


def test_others_inherit_from_the_installed_package(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n"
                    'model = dict(neck=dict(out_channels=128))\n')
    model = read_config(str(path)).model
    assert (model.backbone.depth, model.neck.out_channels) == (50, 128)


# What the recipes of the papers and of mmdetection 3.3 fix, by hand.
@pytest.mark.parametrize('name, expected', [
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', dict(steps=[8, 11], end=12, pretrained='torchvision://resnet50')),
    ('mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py', dict(steps=[16, 22], end=24, pretrained='torchvision://resnet101')),
    ('mask_rcnn/mask-rcnn_r50-caffe_fpn_2x_coco.py',
     dict(steps=[16, 22], end=24, pretrained='open-mmlab://detectron2/resnet50_caffe')),
    ('gn/mask-rcnn_r101_fpn_gn-all_3x_coco.py',
     dict(steps=[28, 34], end=36, pretrained='open-mmlab://detectron/resnet101_gn')),
    ('gn/mask-rcnn_r50-scratch_fpn_gn-all_3x_coco.py', dict(steps=[28, 34], end=36, pretrained=None)),
])
def test_recipes(name, expected):
    cfg = read_config(str(ROOT / 'configs' / name))
    warmup, steps = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (0.001, 500, False)
    assert (steps.milestones, steps.end, steps.gamma) == (expected['steps'], expected['end'], 0.1)
    assert cfg.train_cfg.max_epochs == expected['end']
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
    assert cfg.auto_scale_lr.base_batch_size == 16
    backbone = cfg.model.backbone
    assert (backbone.init_cfg or {}).get('checkpoint') == expected['pretrained']
    caffe = 'caffe' in name or 'gn' in name
    assert cfg.model.data_preprocessor.mean == ([103.53, 116.28, 123.675] if caffe else [123.675, 116.28, 103.53])
    assert cfg.model.data_preprocessor.bgr_to_rgb is not caffe
    assert backbone.frozen_stages == (-1 if 'scratch' in name else 1)
