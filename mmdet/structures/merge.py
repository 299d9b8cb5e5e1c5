"""Detections of one picture from several looks at it, made one."""
from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData

from mmdet.ops import batched_nms

from .mask import PastedMasks


def merge_instances(found: Sequence[InstanceData], iou_threshold: float, max_per_img: int = -1,
                    class_agnostic: bool = False) -> InstanceData:
    """All the bboxes (xyxy pixels of the picture), scores, labels and perhaps masks after NMS, best first.

    Args:
        iou_threshold: of two of one class (of any, if class_agnostic) that overlap by more, the better stays.
        max_per_img: how many stay at most; negative: all.
    """
    joined = InstanceData(**{name: torch.cat([instances[name] for instances in found])
                             for name in ('bboxes', 'scores', 'labels')})
    if all('masks' in instances for instances in found):
        joined.masks = PastedMasks.cat([instances.masks for instances in found])
    keep = batched_nms(joined.bboxes, joined.scores, None if class_agnostic else joined.labels, iou_threshold)
    return joined[keep if max_per_img < 0 else keep[:max_per_img]]
