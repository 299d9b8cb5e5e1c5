"""The instances of an image: some of them, moved, or joined with those of another image."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS

FIELDS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')


def keep_instances(results: dict, keep: np.ndarray) -> None:
    """Keep only the instances that `keep` picks, booleans (N,) or positions, in every field of `results`."""
    for field in FIELDS:
        if field in results:
            results[field] = results[field][keep]


def drop_outside(results: dict, boxes: np.ndarray, shape: tuple[int, int], clip: bool = True) -> None:
    """Give the instances these boxes (N, 4), cut to the image (h, w) where `clip`, and drop those outside of it."""
    right_bottom = np.array(shape[::-1], np.float32)
    outside = np.concatenate([boxes[:, :2] >= right_bottom, boxes[:, 2:] <= 0], axis=1)
    results['gt_bboxes'] = boxes.clip(0, np.tile(right_bottom, 2)) if clip else boxes
    keep_instances(results, np.flatnonzero(~outside.any(axis=1)))


def place_instances(results: dict, left: int, top: int, shape: tuple[int, int], clip: bool = True) -> None:
    """Move the instances by (left, top) into an image (h, w), and drop those outside of it."""
    if 'gt_bboxes' in results:
        moved = results['gt_bboxes'] + np.array([left, top, left, top], np.float32)
        drop_outside(results, moved, shape, clip)
    if 'gt_masks' in results:
        results['gt_masks'] = results['gt_masks'].expand(*shape, top, left)


def join_instances(parts: Sequence[dict]) -> dict:
    """The fields of the instances of several results, whose masks are of one size."""
    return {field: type(parts[0][field]).cat([part[field] for part in parts]) if field == 'gt_masks'
            else np.concatenate([part[field] for part in parts]) for field in FIELDS if field in parts[0]}


@TRANSFORMS.register_module()
class FilterAnnotations(BaseTransform):
    """Drop instances that are too small.

    Args:
        min_gt_bbox_wh: boxes must be wider and higher than this, in pixels.
        min_gt_mask_area: masks must have at least these pixels.
        by_box, by_mask: which of the two conditions apply.
        keep_empty: mmdetection's name; True gives None (the data set then takes another image) for an image that lost
            all its instances here.
    """

    def __init__(self, min_gt_bbox_wh: tuple[float, float] = (1., 1.), min_gt_mask_area: int = 1,
                 by_box: bool = True, by_mask: bool = False, keep_empty: bool = True):
        if not (by_box or by_mask):
            raise UserError('FilterAnnotations needs by_box=True or by_mask=True')
        self.min_gt_bbox_wh, self.min_gt_mask_area = min_gt_bbox_wh, min_gt_mask_area
        self.by_box, self.by_mask, self.keep_empty = by_box, by_mask, keep_empty

    def transform(self, results: dict) -> dict | None:
        boxes = results['gt_bboxes']
        if len(boxes) == 0:
            return results
        keep = np.ones(len(boxes), bool)
        if self.by_box:
            keep &= (boxes[:, 2:] - boxes[:, :2] > self.min_gt_bbox_wh).all(axis=1)
        if self.by_mask:
            keep &= results['gt_masks'].areas >= self.min_gt_mask_area
        if self.keep_empty and not keep.any():
            return None
        keep_instances(results, keep)
        return results
