"""Choosing among the instances of an image."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS

_FIELDS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')


def keep_instances(results: dict, keep: np.ndarray) -> None:
    """Keep only the instances where `keep` (N,) is True, in every field of `results`."""
    for field in _FIELDS:
        if field in results:
            results[field] = results[field][keep]


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
