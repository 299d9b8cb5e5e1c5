"""Detectron (Caffe2): blobs such as res2_0_branch2a_w. ImageNet backbones, and Faster and Mask R-CNN with FPN."""
from collections.abc import Collection
from typing import Any

import torch

from ..conversion import Conventions, Conversion, check_resnet, move_background_last, translate

SOURCE = 'Detectron'
MEAN = (102.9801, 115.9465, 122.7717)
BN_EPS = 1e-5  # of every batch norm here, unless the config says otherwise


def recognizes(names: Collection[str]) -> bool:
    return 'conv1_w' in names or 'res2_0_branch2a_w' in names


def _entry(match):
    return 'bias' if match['entry'] == 'b' else 'weight'  # w of a layer, s of a norm


def _names(norm, backbone):
    """Rules for a model whose backbone's norm layers are called `norm`, bn or gn."""
    end = r'_(?P<kind>[bg]n_)?(?P<entry>[wbs])'

    def stem(match):
        return f'{backbone}{norm if match["kind"] else "conv"}1.{_entry(match)}'

    def block(match):
        branch = match['branch']
        if branch == '1':
            layer = f'downsample.{1 if match["kind"] else 0}'
        else:
            layer = f'{norm if match["kind"] else "conv"}{"abc".index(branch[1]) + 1}'
        return f'{backbone}layer{int(match["stage"]) - 1}.{match["block"]}.{layer}.{_entry(match)}'

    def module(ours, offset):
        """A convolution and its norm, numbered from `offset`."""
        return lambda match: f'{ours}.{int(match["i"]) - offset}.{"gn" if match["kind"] else "conv"}.{_entry(match)}'

    def plain(blob, ours):
        return blob + r'_(?P<entry>[wb])', lambda match: f'{ours}.{_entry(match)}'
    return [
        ('(?:res_)?conv1' + end, stem),
        (r'res(?P<stage>[2-5])_(?P<block>\d+)_branch(?P<branch>1|2[abc])' + end, block),
        (r'fpn_inner_res(?P<i>[2-5])_\d+_sum(?:_lateral)?' + end, module('neck.lateral_convs', 2)),
        (r'fpn_res(?P<i>[2-5])_\d+_sum' + end, module('neck.fpn_convs', 2)),
        plain('conv_rpn_fpn2', 'rpn_head.rpn_conv'),
        plain('rpn_cls_logits_fpn2', 'rpn_head.rpn_cls'),
        plain('rpn_bbox_pred_fpn2', 'rpn_head.rpn_reg'),
        ('head_conv(?P<i>[1-4])' + end, module('roi_head.bbox_head.shared_convs', 1)),
        plain('fc6', 'roi_head.bbox_head.shared_fcs.0'),
        plain('fc7', 'roi_head.bbox_head.shared_fcs.1'),
        plain('cls_score', 'roi_head.bbox_head.fc_cls'),
        plain('bbox_pred', 'roi_head.bbox_head.fc_reg'),
        (r'_(?:\[mask\]|mask)_fcn(?P<i>[1-9])' + end, module('roi_head.mask_head.convs', 1)),
        plain('conv5_mask', 'roi_head.mask_head.upsample'),
        plain('mask_fcn_logits', 'roi_head.mask_head.conv_logits'),
    ]


DROPPED = [
    (r'.*_momentum|lr|weight_order|epoch|iter|model_iter|.*_iter', 'state of the training'),
    (r'(pred|fc1000)_[wb]', "ImageNet's classifier"),
    (r'conv1_b', 'Detectron gives its stem no bias'),
]
REFUSED = [
    (r'kps?_.*|conv_fcn\d+_.*|_\[kps?\]_.*', 'keypoint head'),
    (r'retnet_.*', 'RetinaNet'),
    (r'(conv_rpn|rpn_cls_logits|rpn_bbox_pred)_[wb]', 'a proposal network on one feature map (C4)'),
    (r'.*_fpn_?(3|6|7)_[wb]|fpn_6.*|fpn_7.*', 'FPN levels with convolutions of their own'),
]


def convert(state: dict[str, Any], path: str) -> Conversion:
    """State dict of tensors -> Conversion. Raises ValueError naming the part that cannot be represented."""
    gn = any('_gn_' in name for name in state if name.startswith(('conv1', 'res')))
    detector = any(name.startswith(('fpn_', 'cls_score', 'conv_rpn')) for name in state)
    result = translate(SOURCE, state, path, _names('gn' if gn else 'bn', 'backbone.' if detector else ''), DROPPED,
                       REFUSED)
    if not gn:
        _add_statistics(result)
    move_background_last(result, path)
    depth = check_resnet(result, path)
    config = None
    if detector:
        kind = 'mask' if any('mask_head' in name for name in result.weights) else 'faster'
        config = f'configs/detectron/{kind}_rcnn_r{depth}_fpn{"_gn" if gn else ""}.py'
    result.conventions = Conventions('BGR', MEAN, (1., 1., 1.), 'pytorch' if gn else 'caffe',
                                     False if detector else None, 'x2 - x1 + 1' if detector else None, config)
    return result


def _add_statistics(result):
    """Affine BN is scale * x + shift: mean 0, and variance 1 - eps, which makes 1 / sqrt(variance + eps) exactly 1 in
    float32 (with variance 1 the scale would be 5e-6 too small)."""
    scales = [name.removesuffix('weight') for name, value in result.weights.items()
              if value.dim() == 1 and name.endswith('.weight')]
    for norm in scales:
        scale = result.weights[f'{norm}weight']
        result.weights[f'{norm}running_mean'] = torch.zeros_like(scale)
        result.weights[f'{norm}running_var'] = torch.full_like(scale, 1 - BN_EPS)
