"""Numbers of channels, levels and classes that the parts of a model's config must share.

Only parts of this package are compared: what another package's part does with a number is its own.
"""
from typing import Any

from mmdet.errors import UserError


def check_model(model: Any) -> None:
    """Raise UserError that names both keys where two parts of `model`, a detector's config, are at odds."""
    if not isinstance(model, dict):
        return
    backbone, neck, rpn, heads, pixels = (_dict(model, name) for name in (
        'backbone', 'neck', 'rpn_head', 'roi_head', 'data_preprocessor'))
    if isinstance(model.get('neck'), (list, tuple)):  # the first makes the levels, the others refine them
        neck = next((part for part in model['neck'] if isinstance(part, dict)), {})
    for name in ('mean', 'std'):
        values = pixels.get(name)
        if values is not None and len(values) != 3:
            raise UserError(f'model.data_preprocessor.{name} is {values}, but must be 3 numbers, one a channel')
    depth = backbone.get('depth')
    levels = backbone.get('out_indices', (0, 1, 2, 3)) if backbone.get('type') == 'ResNet' else ()
    if not model.get('neck') and len(levels) > 1 and rpn.get('type') == 'RPNHead':
        raise UserError(f'model.neck is None, but model.backbone.out_indices asks for {len(levels)} levels, each of '
                        'other channels: a neck such as FPN makes them alike')
    if backbone.get('type') == 'ResNet' and neck.get('type') == 'FPN' and depth in (18, 34, 50, 101, 152):
        wide = backbone.get('base_channels', 64) * (1 if depth in (18, 34) else 4)
        maps = [wide * 2 ** stage for stage in backbone.get('out_indices', (0, 1, 2, 3))]
        _same('neck.in_channels', list(neck.get('in_channels') or maps), 'the channels of backbone.out_indices', maps)
    if neck.get('type') == 'FPN':
        width, levels = neck.get('out_channels'), neck.get('num_outs')
        anchors = _dict(rpn, 'anchor_generator').get('strides')
        if anchors is not None and levels is not None:
            _same('the number of rpn_head.anchor_generator.strides', len(anchors), 'neck.num_outs', levels)
        _same('rpn_head.in_channels', rpn.get('in_channels'), 'neck.out_channels', width)
        for place, extractor in _each(heads, 'bbox_roi_extractor') + _each(heads, 'mask_roi_extractor'):
            _same(f'{place}.out_channels', extractor.get('out_channels'), 'neck.out_channels', width)
    of_boxes, classes = _each(heads, 'bbox_roi_extractor'), [*_each(heads, 'bbox_head'), *_each(heads, 'mask_head')]
    parts = (('bbox_head', of_boxes), ('mask_head', _each(heads, 'mask_roi_extractor') or of_boxes))
    own = heads.get('type') in ('StandardRoIHead', 'CascadeRoIHead', 'DoubleHeadRoIHead', 'DynamicRoIHead')
    for name, extractors in parts if own and not heads.get('shared_head') else ():
        for i, (place, head) in enumerate(_each(heads, name)):
            other, extractor = extractors[min(i, len(extractors) - 1)] if extractors else ('', {})
            _same(f'{place}.in_channels', head.get('in_channels'), f'{other}.out_channels',
                  extractor.get('out_channels'))
            if head.get('type') in ('ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead'):
                _same(f'{place}.roi_feat_size', head.get('roi_feat_size', 7), f'{other}.roi_layer.output_size',
                      _dict(extractor, 'roi_layer').get('output_size'))
    for place, head in classes:
        _same(f'{classes[0][0]}.num_classes', classes[0][1].get('num_classes'), f'{place}.num_classes',
              head.get('num_classes'))


def _dict(node: dict, key: str) -> dict:
    return node[key] if isinstance(node.get(key), dict) else {}


def _each(heads: dict, key: str) -> list[tuple[str, dict]]:
    """Place and config of a part of roi_head, of which there may be a list: one a stage."""
    part = heads.get(key)
    if isinstance(part, (list, tuple)):
        return [(f'roi_head.{key}.{i}', one) for i, one in enumerate(part) if isinstance(one, dict)]
    return [(f'roi_head.{key}', part)] if isinstance(part, dict) else []


def _same(name: str, value: Any, other: str, needed: Any) -> None:
    if value is not None and needed is not None and value != needed:
        raise UserError(f'model.{name} is {value}, {other} is {needed}: they must be the same')
