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
    for name in ('mean', 'std'):
        values = pixels.get(name)
        if values is not None and len(values) != 3:
            raise UserError(f'model.data_preprocessor.{name} is {values}, but must be 3 numbers, one a channel')
    depth = backbone.get('depth')
    levels = backbone.get('out_indices', (0, 1, 2, 3)) if backbone.get('type') == 'ResNet' else ()
    if not neck and len(levels) > 1 and rpn.get('type') == 'RPNHead':
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
        for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
            _same(f'roi_head.{name}.out_channels', _dict(heads, name).get('out_channels'), 'neck.out_channels', width)
    parts = (('bbox_head', 'bbox_roi_extractor'), ('mask_head', 'mask_roi_extractor'))
    for head, extractor in parts if heads.get('type') == 'StandardRoIHead' and 'shared_head' not in heads else ():
        reads = _dict(heads, extractor) or _dict(heads, 'bbox_roi_extractor')
        _same(f'roi_head.{head}.in_channels', _dict(heads, head).get('in_channels'),
              f'roi_head.{extractor}.out_channels', reads.get('out_channels'))
    box = _dict(heads, 'bbox_head')
    if box.get('type') in ('ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead'):
        layer = _dict(_dict(heads, 'bbox_roi_extractor'), 'roi_layer')
        _same('roi_head.bbox_head.roi_feat_size', box.get('roi_feat_size', 7),
              'roi_head.bbox_roi_extractor.roi_layer.output_size', layer.get('output_size'))
    _same('roi_head.bbox_head.num_classes', box.get('num_classes'), 'roi_head.mask_head.num_classes',
          _dict(heads, 'mask_head').get('num_classes'))


def _dict(node: dict, key: str) -> dict:
    return node[key] if isinstance(node.get(key), dict) else {}


def _same(name: str, value: Any, other: str, needed: Any) -> None:
    if value is not None and needed is not None and value != needed:
        raise UserError(f'model.{name} is {value}, {other} is {needed}: they must be the same')
