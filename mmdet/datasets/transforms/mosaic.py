"""Mosaic and MixUp: several images as one."""
from collections.abc import Sized

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.registry import TRANSFORMS

from .instances import drop_outside, join_instances, place_instances


@TRANSFORMS.register_module()
class Mosaic(BaseTransform):
    """Four images round one point of an image twice as high and wide; stands in MultiImageMixDataset.

    Each is resized to fit img_scale, and what would lie outside is cut off.

    Args:
        img_scale: (width, height) of an image in pixels.
        center_ratio_range: where the point lies, as factor of img_scale.
        bbox_clip_border: whether boxes are cut to the image.
        pad_val: value of the pixels that are left empty.
        prob: of doing it.
    """

    def __init__(self, img_scale: tuple[int, int] = (640, 640), center_ratio_range: tuple[float, float] = (0.5, 1.5),
                 bbox_clip_border: bool = True, pad_val: float = 114., prob: float = 1.):
        self.img_scale, self.center_ratio_range = tuple(img_scale), center_ratio_range
        self.bbox_clip_border, self.pad_val, self.prob = bbox_clip_border, pad_val, prob

    def get_indexes(self, dataset: Sized) -> list[int]:
        """The indices of the other three images."""
        return np.random.randint(len(dataset), size=3).tolist()

    def transform(self, results: dict) -> dict:
        if np.random.uniform() > self.prob:
            return results
        width, height = 2 * self.img_scale[0], 2 * self.img_scale[1]
        mosaic = np.full((height, width, 3), self.pad_val, results['img'].dtype)
        center_x, center_y = (int(np.random.uniform(*self.center_ratio_range) * side) for side in self.img_scale)
        parts = [results, *results['mix_results']]
        for i, part in enumerate(parts):
            _fit(part, *self.img_scale)
            h, w = part['img'].shape[:2]
            left, top = center_x - w * (i % 2 == 0), center_y - h * (i < 2)
            x, y = max(left, 0), max(top, 0)
            piece = part['img'][y - top:height - top, x - left:width - left]
            mosaic[y:y + piece.shape[0], x:x + piece.shape[1]] = piece
            place_instances(part, left, top, (height, width), self.bbox_clip_border)
        results.update(join_instances(parts), img=mosaic, img_shape=mosaic.shape[:2])
        return results


@TRANSFORMS.register_module()
class MixUp(BaseTransform):
    """The mean of the image and a second one, with the instances of both; stands in MultiImageMixDataset.

    The second one is resized to fit img_scale and padded, resized by a drawn factor, perhaps mirrored, and cut or
    padded to the size of the first.

    Args:
        img_scale: (width, height) in pixels.
        ratio_range: of the factor.
        flip_ratio: probability that it is not mirrored.
        pad_val: value of the pixels that are left empty.
        max_iters: how often an image without instances is drawn anew.
        bbox_clip_border: whether boxes are cut to the image.
    """

    def __init__(self, img_scale: tuple[int, int] = (640, 640), ratio_range: tuple[float, float] = (0.5, 1.5),
                 flip_ratio: float = 0.5, pad_val: float = 114., max_iters: int = 15, bbox_clip_border: bool = True):
        self.img_scale, self.ratio_range, self.flip_ratio = tuple(img_scale), ratio_range, flip_ratio
        self.pad_val, self.max_iters, self.bbox_clip_border = pad_val, max_iters, bbox_clip_border

    def get_indexes(self, dataset: Sized) -> int:
        """The index of the second image."""
        drawn = np.random.randint(len(dataset), size=self.max_iters).tolist()
        return next((i for i in drawn if dataset.get_data_info(i)['instances']), drawn[-1])  # type: ignore[attr-defined]

    def transform(self, results: dict) -> dict:
        other, = results['mix_results']
        if not len(other['gt_bboxes']):
            return results
        image, (height, width) = results['img'], results['img'].shape[:2]
        _fit(other, *self.img_scale)
        second = mmcv.impad(other['img'], shape=self.img_scale[::-1], pad_val=(self.pad_val,) * 3)
        factor = np.random.uniform(*self.ratio_range)
        second = mmcv.imresize(second, tuple(int(side * factor) for side in self.img_scale))
        h, w = second.shape[:2]
        drop_outside(other, other['gt_bboxes'] * np.float32(factor), (h, w), self.bbox_clip_border)
        flip = np.random.uniform() > self.flip_ratio
        if flip:
            second = second[:, ::-1]
            x1, y1, x2, y2 = other['gt_bboxes'].T
            other['gt_bboxes'] = np.stack([w - x2, y1, w - x1, y2], axis=1)
        if 'gt_masks' in other:
            masks = other['gt_masks'].pad(self.img_scale[::-1]).resize((h, w))
            other['gt_masks'] = masks.flip('horizontal') if flip else masks
        x, y = np.random.randint(max(w - width, 0) + 1), np.random.randint(max(h - height, 0) + 1)
        padded = np.full(image.shape, self.pad_val, image.dtype)
        piece = second[y:y + height, x:x + width]
        padded[:piece.shape[0], :piece.shape[1]] = piece
        place_instances(other, -x, -y, (height, width), self.bbox_clip_border)
        results['img'] = (0.5 * image + 0.5 * padded).astype(image.dtype)
        results.update(join_instances([results, other]))
        return results


def _fit(results: dict, width: int, height: int) -> None:
    """Resize image and instances to the largest size within width x height that keeps the aspect ratio."""
    h, w = results['img'].shape[:2]
    scale = min(height / h, width / w)
    results['img'] = mmcv.imresize(results['img'], (int(w * scale), int(h * scale)))
    results['gt_bboxes'] = results['gt_bboxes'] * np.float32(scale)
    if 'gt_masks' in results:
        results['gt_masks'] = results['gt_masks'].resize(results['img'].shape[:2])
