"""Resizing images with their boxes and masks."""
from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import RandomChoiceResize as MMCV_RandomChoiceResize
from mmcv.transforms import RandomResize as MMCV_RandomResize
from mmcv.transforms import Resize as MMCV_Resize

from mmdet.registry import TRANSFORMS

from .pad import Pad

Scale = int | tuple[int, int]  # (long side, short side) or (width, height) in pixels


@TRANSFORMS.register_module()
class Resize(MMCV_Resize):
    """mmcv's Resize for img, gt_bboxes (always float32) and gt_masks; no side becomes less than a pixel."""

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        if self.keep_ratio:
            size = tuple(max(side, 1) for side in mmcv.rescale_size((width, height), results['scale']))
        else:
            size = results['scale']
        results['img'] = mmcv.imresize(results['img'], size, interpolation=self.interpolation, backend=self.backend)
        results['img_shape'] = new_height, new_width = results['img'].shape[:2]
        results['scale_factor'] = (new_width / width, new_height / height)
        results['keep_ratio'] = self.keep_ratio

    def _resize_bboxes(self, results: dict) -> None:
        if 'gt_bboxes' not in results:
            return
        boxes = results['gt_bboxes'] * np.tile(np.array(results['scale_factor'], np.float32), 2)
        if self.clip_object_border:
            height, width = results['img_shape']
            boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        results['gt_bboxes'] = boxes

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].resize(results['img_shape'])
        return results


@TRANSFORMS.register_module()
class FixShapeResize(Resize):
    """Resize to exactly width x height pixels; with keep_ratio to the largest size within, and padded."""

    def __init__(self, width: int, height: int, pad_val: Any = dict(img=0, seg=255), keep_ratio: bool = False,
                 clip_object_border: bool = True, backend: str = 'cv2', interpolation: str = 'bilinear'):
        super().__init__((width, height), keep_ratio=keep_ratio, clip_object_border=clip_object_border,
                         backend=backend, interpolation=interpolation)
        self.pad = Pad(size=(width, height), pad_val=pad_val)

    def transform(self, results: dict) -> dict:
        return self.pad(super().transform(results)) if self.keep_ratio else super().transform(results)


@TRANSFORMS.register_module()
class RandomResize(MMCV_RandomResize):
    """mmcv's RandomResize with the Resize above: a scale between two, or one scale times a random ratio."""

    def __init__(self, scale: Scale | Sequence[Scale], ratio_range: tuple[float, float] | None = None,
                 resize_type: str = 'mmdet.Resize', **resize_kwargs: Any):
        super().__init__(scale, ratio_range, resize_type, **resize_kwargs)


@TRANSFORMS.register_module()
class RandomChoiceResize(MMCV_RandomChoiceResize):
    """mmcv's RandomChoiceResize with the Resize above: one of several scales."""

    def __init__(self, scales: Sequence[Scale], resize_type: str = 'mmdet.Resize', **resize_kwargs: Any):
        super().__init__(scales, resize_type, **resize_kwargs)
