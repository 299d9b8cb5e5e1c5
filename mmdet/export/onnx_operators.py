"""Our operators by standard ones of ONNX (opset 18).

Each function takes the arguments of the operator of `torch.ops.mmdet` that it stands for; torch.onnx calls it with the
values of the graph that it builds.
"""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18 as op


def nms(boxes: Any, order: Any, groups: Any, counts: Any, iou_threshold: float, max_keep: Any) -> Any:
    """mmdet::nms by NonMaxSuppression, whose classes are the groups and whose scores are the places in the order."""
    size = op.Shape(order, start=1, end=2)
    num_boxes, zero, one = op.Squeeze(size), op.Constant(value_int=0), op.Constant(value_int=1)
    place = op.Range(zero, num_boxes, one)
    rank = op.Where(op.Less(place, op.Unsqueeze(counts, [1])), op.Sub(num_boxes, place), zero)
    rank = op.Cast(rank, to=1)  # float32 counts to 16 million
    ranks = op.ScatterElements(op.Sub(rank, rank), order, rank, axis=1)
    names = op.Unsqueeze(op.Range(zero, op.Add(op.ReduceMax(groups, keepdims=0), one), one), [0, 2])
    ranks_of_groups = op.Where(op.Equal(op.Unsqueeze(groups, [1]), names), op.Unsqueeze(ranks, [1]),
                               op.Constant(value_float=0.))
    chosen = op.NonMaxSuppression(boxes, ranks_of_groups, size, op.Constant(value_floats=[iou_threshold]),
                                  op.Constant(value_floats=[0.5]))
    image_and_box = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
    nothing = op.Sub(ranks, ranks)
    kept = op.ScatterND(nothing, image_and_box, op.GatherND(ranks, image_and_box))
    max_keep = op.Reshape(max_keep, op.Constant(value_ints=[1]))
    padded = op.Pad(kept, op.Concat(op.Constant(value_ints=[0, 0, 0]), max_keep, axis=0))
    best, index = op.TopK(padded, max_keep)
    return op.Where(op.Greater(best, op.Constant(value_float=0.)), index, op.Constant(value_int=-1))


def roi_align(features: Sequence[Any], rois: Any, levels: Any, scales: Sequence[float], height: int, width: int,
              sampling_ratio: int, aligned: bool) -> Any:
    """mmdet::roi_align by a RoiAlign for each level, of the RoIs that it has."""
    def pool(feature, rois, scale):
        images = op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=7)
        return op.RoiAlign(feature, op.Slice(rois, [1], [5], [1]), images, output_height=height, output_width=width,
                           spatial_scale=scale, sampling_ratio=sampling_ratio,
                           coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel')
    if levels is None:
        return pool(features[0], rois, scales[0])
    rows = [op.Squeeze(op.NonZero(op.Equal(levels, op.Constant(value_int=level))), [0])
            for level in range(len(features))]
    pooled = op.Concat(*(pool(feature, op.Gather(rois, row), scale)
                         for feature, row, scale in zip(features, rows, scales)), axis=0)
    rows = op.Concat(*rows, axis=0)
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    place = op.Range(zero, op.Squeeze(op.Shape(rows)), one)
    return op.Gather(pooled, op.ScatterElements(place, rows, place))


def sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """aten::sort.stable by TopK, where of equal values the first comes first."""
    size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, size, axis=dim, largest=int(descending))


TRANSLATIONS: dict[Callable, Callable] = {torch.ops.aten.sort.stable: sort, torch.ops.mmdet.nms.default: nms,
                                          torch.ops.mmdet.roi_align.default: roi_align}
