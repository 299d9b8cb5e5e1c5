"""Mirroring images with their boxes and masks."""
import cv2
from mmcv.transforms import RandomFlip as MMCV_RandomFlip

from mmdet.registry import TRANSFORMS

_CV2_CODE = dict(horizontal=1, vertical=0, diagonal=-1)


@TRANSFORMS.register_module()
class RandomFlip(MMCV_RandomFlip):
    """mmcv's RandomFlip for img, gt_bboxes (x becomes width - x) and gt_masks."""

    def _flip(self, results: dict) -> None:
        direction = str(results['flip_direction'])
        results['flip_direction'] = direction
        # mmcv returns a view with negative strides; copying that later takes ten times as long as this copy.
        results['img'] = cv2.flip(results['img'], _CV2_CODE[direction])
        if 'gt_bboxes' in results:
            results['gt_bboxes'] = self._flip_bbox(results['gt_bboxes'], results['img'].shape[:2], direction)
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].flip(direction)
