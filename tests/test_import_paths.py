"""Modules of mmdetection's that lie elsewhere here are found, and give what configs name."""
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from mmdet.engine.config import read_config
from mmdet.import_paths import HOMES, PATHS, Door, paths
from mmdet.models.instance_lists import images_to_levels, multi_apply, unmap
from mmdet.models.layers import build_norm_layer
from mmdet.models.loss_reduction import weighted_loss
from mmdet.registry import DATASETS, METRICS, MODELS, TASK_UTILS, TRANSFORMS
from mmdet.structures.bbox import bbox2roi, bbox_cxcywh_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcywh, roi2bbox

ROOT = Path(__file__).parents[1] / 'mmdet'
NAMES = {
    'mmdet.models.data_preprocessors.data_preprocessor': (MODELS, 'DetDataPreprocessor'),
    'mmdet.models.detectors.mask_rcnn': (MODELS, 'MaskRCNN'), 'mmdet.models.necks.pafpn': (MODELS, 'PAFPN'),
    'mmdet.models.backbones.resnext': (MODELS, 'ResNeXt'), 'mmdet.models.losses.iou_loss': (MODELS, 'GIoULoss'),
    'mmdet.models.losses': (MODELS, 'DIoULoss'), 'mmdet.models.dense_heads': (MODELS, 'RPNHead'),
    'mmdet.models.roi_heads.bbox_heads': (MODELS, 'ConvFCBBoxHead'),
    'mmdet.models.roi_heads.mask_heads.fcn_mask_head': (MODELS, 'FCNMaskHead'),
    'mmdet.models.task_modules.coders': (TASK_UTILS, 'DeltaXYWHBBoxCoder'),
    'mmdet.models.task_modules.prior_generators.anchor_generator': (TASK_UTILS, 'AnchorGenerator'),
    'mmdet.datasets.transforms.transforms': (TRANSFORMS, 'RandomFlip'),
    'mmdet.datasets.xml_style': (DATASETS, 'XMLDataset'),
    'mmdet.evaluation.metrics.coco_metric': (METRICS, 'CocoMetric'),
}
UNREGISTERED = ('mmdet.models.detectors.base BaseDetector', 'mmdet.models.detectors TwoStageDetector',
                'mmdet.models.roi_heads.base_roi_head BaseRoIHead', 'mmdet.models.layers.res_layer ResLayer',
                'mmdet.models.losses.utils weight_reduce_loss', 'mmdet.models.losses accuracy',
                'mmdet.models.task_modules.builder build_assigner', 'mmdet.models.utils.misc unpack_gt_instances',
                'mmdet.models.utils multi_apply', 'mmdet.structures.bbox.transforms bbox2roi',
                'mmdet.structures.mask.structures PolygonMasks', 'mmdet.utils.typing_utils OptMultiConfig',
                'mmdet.utils.dist_utils reduce_mean', 'mmdet.utils setup_cache_size_limit_of_dynamo')


def test_paths_give_what_configs_name():
    for path in paths():
        importlib.import_module(path)
    for path, (registry, name) in NAMES.items():
        assert getattr(importlib.import_module(path), name) is registry.get(name), path
    for path, name in map(str.split, UNREGISTERED):
        assert callable(getattr(importlib.import_module(path), name)) or name.startswith('Opt'), path


def test_nothing_is_hidden():
    """No path is that of a file or of a name, and what is not here is no module and has no name."""
    files = {'.'.join(('mmdet', *file.relative_to(ROOT).with_suffix('').parts)) for file in ROOT.rglob('*.py')}
    files |= {file.removesuffix('.__init__') for file in files}
    assert not files & set(paths())
    assert {home for homes in HOMES.values() for home in homes} <= files
    for package, names in PATHS.items():
        assert package in files | set(paths())
        for name in names.split():
            found = vars(importlib.import_module(package)).get(name)
            assert found is None or isinstance(found, Door), f'{package}.{name}'
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmdet.models.dense_heads.gfl_head')
    with pytest.raises(ImportError, match='GFLHead'):
        from mmdet.models.dense_heads.anchor_head import GFLHead  # noqa: F401


def test_start_imports_nothing():
    code = "import sys, mmdet; assert not {'torch', 'mmengine'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)


def test_config_that_imports_its_types():
    cfg = read_config(str(Path(__file__).parent / 'data/imported_types.py'))
    found = {key: value for key, value in walk(cfg.to_dict()) if key.endswith('type')}
    assert found == {
        'model.type': 'FasterRCNN', 'model.backbone.type': 'ResNet', 'model.backbone.norm_cfg.type': 'BatchNorm2d',
        'model.roi_head.bbox_roi_extractor.type': 'SingleRoIExtractor',
        'model.roi_head.bbox_roi_extractor.roi_layer.type': 'RoIAlign',
        'model.roi_head.bbox_head.type': 'Shared2FCBBoxHead',
        'model.roi_head.bbox_head.loss_cls.type': 'CrossEntropyLoss',
        'model.train_cfg.rcnn.sampler.type': 'RandomSampler', 'model.test_cfg.rcnn.nms.type': 'nms',
        'optim_wrapper.type': 'OptimWrapper', 'optim_wrapper.optimizer.type': 'SGD'}
    assert build_norm_layer(cfg.model.backbone.norm_cfg, 4, 1)[0] == 'bn1'


def walk(node, place=''):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from walk(value, f'{place}{key}.')
        else:
            yield f'{place}{key}', value


def test_functions_on_boxes():
    boxes = torch.rand(2, 5, 4) * 50
    boxes[..., 2:] += boxes[..., :2]
    one, other = boxes
    for mode, peer in (('iou', torchvision.ops.box_iou), ('giou', torchvision.ops.generalized_box_iou)):
        torch.testing.assert_close(bbox_overlaps(one, other, mode), peer(one, other))
        torch.testing.assert_close(bbox_overlaps(one, other, mode, is_aligned=True), peer(one, other).diagonal())
    torch.testing.assert_close(bbox_xyxy_to_cxcywh(one), torchvision.ops.box_convert(one, 'xyxy', 'cxcywh'))
    torch.testing.assert_close(bbox_cxcywh_to_xyxy(bbox_xyxy_to_cxcywh(one)), one)
    rois = bbox2roi([one, other[:0], other[:2]])
    assert rois[:, 0].tolist() == [0] * 5 + [2] * 2 and torch.equal(roi2bbox(rois)[1], other[:2])


def test_functions_on_lists_and_losses():
    assert multi_apply(lambda x, y, z: (x + y, x * z), [1, 2], [3, 4], z=5) == ([4, 6], [5, 10])
    assert unmap(torch.tensor([7, 8]), 3, torch.tensor([True, False, True]), -1).tolist() == [7, -1, 8]
    assert [x.tolist() for x in images_to_levels([torch.arange(3), torch.arange(3, 6)], [1, 2])] == [
        [[0], [3]], [[1, 2], [4, 5]]]
    square = weighted_loss(lambda pred, target: (pred - target).square())
    pred, target, weight = torch.tensor([1., 2]), torch.tensor([0., 5]), torch.tensor([1., 2])
    assert square(pred, target).item() == 5 and square(pred, target, weight, reduction='sum').item() == 19
    assert square(pred, target, weight, avg_factor=4).item() == pytest.approx(19 / 4)
    with pytest.raises(ValueError, match='avg_factor'):
        square(pred, target, reduction='sum', avg_factor=2)


def test_mmcv_ops_where_mmcv_has_none():
    from mmcv.ops import RoIAlign, batched_nms, nms, roi_align
    boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 9, 10]])
    scores, labels = torch.tensor([.5, .9, .1, .8]), torch.tensor([0, 0, 0, 1])
    dets, keep = nms(boxes, scores, 0.5, score_threshold=.2)
    assert keep.tolist() == [1] and dets.tolist() == [[*boxes[1].tolist(), scores[1].item()]]
    assert batched_nms(boxes, scores, labels, dict(type='nms', iou_threshold=.5, max_num=2))[1].tolist() == [1, 3]
    assert batched_nms(boxes, scores, labels, None)[1].tolist() == [1, 3, 0, 2]
    x, rois = torch.randn(1, 2, 8, 8), torch.tensor([[0, 1., 1, 6, 7]])
    torch.testing.assert_close(roi_align(x, rois, 3, 1., 2, 'avg', False),
                               torchvision.ops.roi_align(x, rois, 3, 1., 2, False))
    assert RoIAlign is MODELS.get('RoIAlign')
