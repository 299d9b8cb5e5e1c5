"""Padding images with their masks."""
from mmcv.transforms import Pad as MMCV_Pad

from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Pad(MMCV_Pad):
    """mmcv's Pad at the right and the bottom, for img and gt_masks."""

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].pad(results['pad_shape'][:2])
        return results
