"""Mirroring images with their boxes and masks."""
from mmcv.transforms import RandomFlip as MMCV_RandomFlip

from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomFlip(MMCV_RandomFlip):
    """mmcv's RandomFlip for img and gt_bboxes (x becomes width - x), and gt_masks with them."""

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].flip(results['flip_direction'])
