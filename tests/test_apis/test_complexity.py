"""FLOPs, parameters and activations: a count by hand, and whatever kernel serves."""
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet.apis.complexity import count_costs
from mmdet.ops import conv_3x3
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo_256.py'
TWO_LEVELS = {'backbone.num_stages': 2, 'backbone.out_indices': (0, 1), 'backbone.strides': (1, 2),
              'backbone.dilations': (1, 1), 'backbone.base_channels': 16, 'neck.in_channels': [16, 32],
              'neck.num_outs': 2, 'rpn_head.anchor_generator.strides': [4, 8],
              'roi_head.bbox_roi_extractor.featmap_strides': [4, 8],
              'roi_head.mask_roi_extractor.featmap_strides': [4, 8],
              'test_cfg.rpn.max_per_img': 30, 'test_cfg.rcnn.max_per_img': 10}


@pytest.mark.parametrize('norm', ['GN', 'BN'])
def test_count_by_hand(monkeypatch, norm):
    register_all_modules()
    cfg = Config.fromfile(DEMO)
    cfg.merge_from_dict({f'model.{key}': value for key, value in TWO_LEVELS.items()})
    if norm == 'BN':  # which is fused into its convolution where nothing counts it
        cfg.model.backbone.norm_cfg = dict(type='BN')
    detector = MODELS.build(cfg.model).eval()
    costs = {serves: 0 for serves in (True, False)}
    for serves in costs:
        monkeypatch.setattr(conv_3x3, 'SERVES', serves)
        costs[serves] = count_costs(detector, 128, 192)
    assert costs[True] == costs[False]

    stem, first, second = 64 * 96, 32 * 48, 16 * 24  # positions
    of_boxes, of_masks = 30 * 7 * 7, 10 * 14 * 14
    nine = 3 * 3
    macs = {
        'backbone.conv1': stem * 16 * 3 * 49,
        'backbone.layer1': first * 16 * 16 * nine * 4,
        'backbone.layer2': second * (32 * 16 * nine + 32 * 32 * nine * 3 + 32 * 16),
        'neck': first * 64 * (16 + 64 * nine) + second * 64 * (32 + 64 * nine),
        'rpn_head': (first + second) * 64 * (64 * nine + 3 + 3 * 4),
        'roi_head.bbox_roi_extractor': of_boxes * 64 * 2 * 2 * 4,
        'roi_head.bbox_head': of_boxes * 64 * 64 * nine * 2 + 30 * 256 * (64 * 49 + 6 + 5 * 4),
        'roi_head.mask_roi_extractor': of_masks * 64 * 2 * 2 * 4,
        'roi_head.mask_head': of_masks * (64 * 64 * nine * 2 + 4 * 64 * 64 + 4 * 64 * 5)}
    found = costs[True]
    assert {name: found.under(name).flops for name in macs} == {name: 2 * count for name, count in macs.items()}
    assert found.under('').flops == 2 * sum(macs.values())
    assert found.under('backbone').activations == stem * 16 + first * 16 * 4 + second * 32 * 5
    assert found.under('roi_head.bbox_head').activations == of_boxes * 64 * 2 + 30 * (256 + 6 + 20)
    assert 'neck.lateral_convs.1.conv' in found and 'backbone.layer2.0.downsample.0' in found
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in detector.modules())
