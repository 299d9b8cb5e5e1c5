"""torchvision: fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn, v1 and v2, with its older and newer names."""
from collections.abc import Collection
from typing import Any

import torch

from ..conversion import Conventions, Conversion, check_resnet, move_background_last, translate

SOURCE = 'torchvision'
MEAN = tuple(255 * value for value in (0.485, 0.456, 0.406))
STD = tuple(255 * value for value in (0.229, 0.224, 0.225))
# torchvision's labels are COCO's category ids 1..90, of which COCO never used these.
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_ROWS = [label - 1 for label in range(1, 91) if label not in UNUSED_IDS]
BN_EPS = 1e-5


def recognizes(names: Collection[str]) -> bool:
    return any(name.startswith('backbone.body.') for name in names)


def _module(ours):
    """Older names lack the .0 of the convolution: inner_blocks.0.weight; .1 is its norm."""
    return lambda m: f'{ours}.{m["i"]}.{"bn" if m["j"] == ".1" else "conv"}.{m["leaf"]}'


def _names(state):
    num_convs = sum(name.startswith('rpn.head.conv.') and name.endswith('.0.weight') for name in state)
    rpn_conv = r'rpn_head.rpn_conv.\2' if num_convs < 2 else r'rpn_head.rpn_conv.\1.conv.\2'
    at = r'\.(?P<i>\d)(?P<j>\.[01])?\.(?P<leaf>\w+)'
    return [
        (r'backbone\.body\.(.*)', r'backbone.\1'),
        (r'backbone\.fpn\.inner_blocks' + at, _module('neck.lateral_convs')),
        (r'backbone\.fpn\.layer_blocks' + at, _module('neck.fpn_convs')),
        (r'rpn\.head\.conv\.(weight|bias)', r'rpn_head.rpn_conv.\1'),
        (r'rpn\.head\.conv\.(\d)\.0\.(weight|bias)', rpn_conv),
        (r'rpn\.head\.cls_logits\.(\w+)', r'rpn_head.rpn_cls.\1'),
        (r'rpn\.head\.bbox_pred\.(\w+)', r'rpn_head.rpn_reg.\1'),
        (r'roi_heads\.box_head\.fc6\.(\w+)', r'roi_head.bbox_head.shared_fcs.0.\1'),
        (r'roi_heads\.box_head\.fc7\.(\w+)', r'roi_head.bbox_head.shared_fcs.1.\1'),
        (r'roi_heads\.box_head\.5\.(\w+)', r'roi_head.bbox_head.shared_fcs.0.\1'),  # behind 4 convolutions, Flatten
        (r'roi_heads\.box_head' + at, _module('roi_head.bbox_head.shared_convs')),
        (r'roi_heads\.box_predictor\.cls_score\.(\w+)', r'roi_head.bbox_head.fc_cls.\1'),
        (r'roi_heads\.box_predictor\.bbox_pred\.(\w+)', r'roi_head.bbox_head.fc_reg.\1'),
        (r'roi_heads\.mask_head\.mask_fcn(\d)\.(\w+)',
         lambda m: f'roi_head.mask_head.convs.{int(m[1]) - 1}.conv.{m[2]}'),
        (r'roi_heads\.mask_head' + at, _module('roi_head.mask_head.convs')),
        (r'roi_heads\.mask_predictor\.conv5_mask\.(\w+)', r'roi_head.mask_head.upsample.\1'),
        (r'roi_heads\.mask_predictor\.mask_fcn_logits\.(\w+)', r'roi_head.mask_head.conv_logits.\1'),
    ]


DROPPED = [(r'backbone\.body\.fc\.\w+', "ImageNet's classifier")]
REFUSED = [
    (r'roi_heads\.keypoint.*', 'keypoint head'),
    (r'head\..*|backbone\.fpn\.extra_blocks\..*', 'RetinaNet or FCOS'),
    (r'backbone\.body\.\d+\..*', 'MobileNet'),
]


def convert(state: dict[str, Any], path: str) -> Conversion:
    """State dict of tensors -> Conversion. Raises ValueError naming the part that cannot be represented."""
    result = translate(SOURCE, state, path, _names(state), DROPPED, REFUSED)
    move_background_last(result, path)
    check_resnet(result, path)
    if not any(name.endswith('num_batches_tracked') for name in state):
        _without_eps(result)
    if result.num_classes == 90:
        result.choices[80] = COCO_ROWS
        result.notes.append('classes are COCO ids 1 to 90, label = id - 1; a model of 80 classes gets the 80 in use '
                            f'without the ids {", ".join(map(str, UNUSED_IDS))} and its scores are their softmax')
    kind = 'mask' if any('mask_head' in name for name in result.weights) else 'faster'
    v2 = any('rpn_conv.1.' in name for name in result.weights)
    result.conventions = Conventions('RGB', MEAN, STD, 'pytorch', False, 'x2 - x1',
                                     f'configs/torchvision/{kind}_rcnn_r50_fpn{"_v2" if v2 else ""}.py')
    return result


def _without_eps(result):
    """Frozen batch norms of the published v1 detectors divide by sqrt(variance), without eps. Ours adds one, so the
    scale takes the difference: it stays right also where a variance is far below eps."""
    for name in [name for name in result.weights if name.endswith('running_var')]:
        scale, variance = name.removesuffix('running_var') + 'weight', result.weights[name]
        factor = ((variance.double() + BN_EPS) / variance.double()).sqrt()
        factor = torch.where(variance > 0, factor, torch.ones_like(factor))
        result.weights[scale] = (result.weights[scale].double() * factor).to(result.weights[scale].dtype)
    result.notes.append('its frozen batch norms have eps 0: their scales are multiplied to give the same with 1e-5')
