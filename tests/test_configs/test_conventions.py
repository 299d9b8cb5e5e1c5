"""configs/detectron and configs/torchvision: the conventions that their published figures were measured under."""
from pathlib import Path

import pytest
import torch
from each import each
from torchvision.models import detection

from mmdet.engine.config import read_config
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import register_all_modules

CONFIGS = Path(__file__).parents[2] / 'configs'
DETECTRON = [f'{model}_rcnn_r{depth}_fpn{norm}' for model in ('faster', 'mask') for depth in (50, 101)
             for norm in ('', '_gn')]
TORCHVISION = [f'{model}_rcnn_r50_fpn{version}' for model in ('faster', 'mask') for version in ('', '_v2')]


@pytest.mark.parametrize('folder, names', [('detectron', DETECTRON), ('torchvision', TORCHVISION)])
def test_every_config_is_there(folder, names):
    assert {path.stem for path in (CONFIGS / folder).glob('*.py')} == set(names)


@each('name', DETECTRON)
def test_detectron(name):
    model = read_config(str(CONFIGS / f'detectron/{name}.py')).model
    assert model.data_preprocessor.mean == [102.9801, 115.9465, 122.7717]
    assert model.data_preprocessor.std == [1, 1, 1] and not model.data_preprocessor.bgr_to_rgb
    assert model.backbone.depth == (101 if 'r101' in name else 50)
    gn = name.endswith('gn')
    assert model.backbone.style == ('pytorch' if gn else 'caffe')
    heads = [model.roi_head.bbox_head, *([model.roi_head.mask_head] if name.startswith('mask') else [])]
    for part in (model.backbone, model.neck, *heads):
        if gn:
            assert part.norm_cfg == dict(type='GN', num_groups=32)
        else:
            assert part.get('norm_cfg', {}).get('type') == ('FrozenBN' if part is model.backbone else None)
    assert model.roi_head.bbox_head.type == ('Shared4Conv1FCBBoxHead' if gn else 'Shared2FCBBoxHead')
    for coder in (model.rpn_head.bbox_coder, model.roi_head.bbox_head.bbox_coder):
        assert coder.type == 'LegacyDeltaXYWHBBoxCoder' and coder.detectron
    assert model.roi_head.bbox_head.bbox_coder.target_stds == [0.1, 0.1, 0.2, 0.2]
    for extractor in ('bbox', 'mask')[:len(heads)]:
        extractor = model.roi_head[f'{extractor}_roi_extractor']
        assert (extractor.roi_layer.sampling_ratio, extractor.roi_layer.aligned) == (2, False)
        assert extractor.offset == 1
    assert model.test_cfg.rpn == dict(nms_pre=1000, max_per_img=1000, min_bbox_size=-1,
                                      nms=dict(type='nms', iou_threshold=0.7, offset=1))
    rcnn = model.test_cfg.rcnn
    assert (rcnn.score_thr, rcnn.max_per_img) == (0.05, 100)
    assert rcnn.nms == dict(type='nms', iou_threshold=0.5, offset=1)
    generator = TASK_UTILS.build(model.rpn_head.anchor_generator)
    assert generator.base_anchors[0].tolist() == [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]]


@pytest.mark.parametrize('name', TORCHVISION)
def test_torchvision(name):
    """As many numbers as torchvision's model, but for the box and mask of the background, which are not made here."""
    kind, _, _, _, *version = name.split('_')
    with torch.device('meta'):
        oracle = getattr(detection, '_'.join([f'{kind}rcnn', 'resnet50', 'fpn', *version]))(
            weights=None, weights_backbone=None, num_classes=91)
    options = {f'model.roi_head.{head}_head.num_classes': 90 for head in ('bbox', 'mask')[:1 + (kind == 'mask')]}
    register_all_modules()
    cfg = read_config(str(CONFIGS / f'torchvision/{name}.py'), {'model.backbone.init_cfg': None, **options}).model
    with torch.device('meta'):
        model = MODELS.build(cfg)
    background = 4 * (1024 + 1) + (256 + 1 if kind == 'mask' else 0)

    def numbers(module):
        return sum(tensor.numel() for name, tensor in module.state_dict().items() if 'num_batches' not in name)
    assert numbers(model) + background == numbers(oracle)
    assert model.roi_head.bbox_head.num_classes == 90
    for layer in [m for m in model.modules() if type(m).__name__ == 'RoIAlign']:
        assert (layer.sampling_ratio, layer.aligned) == (2, False)
    anchors = TASK_UTILS.build(cfg.rpn_head.anchor_generator).base_anchors
    for ours, theirs in zip(anchors, detection.faster_rcnn._default_anchorgen().cell_anchors, strict=True):
        assert ours.tolist() == theirs.tolist()
