"""Random crops, and their opposite."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS

from .instances import keep_instances, place_instances

_CROP_TYPES = ('absolute', 'absolute_range', 'relative', 'relative_range')


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut a random window out of the image, and drop instances outside it.

    Args:
        crop_size: for 'absolute' and 'relative' (width, height), in pixels or as shares of the image; for
            'absolute_range' the smallest and the largest side in pixels, for 'relative_range' the smallest share of
            height and of width. A window larger than the image is cut to it.
        allow_negative_crop: whether a window may be without instances; if not, the data set takes another image.
        recompute_bbox: compute boxes from the cropped masks instead of cropping the boxes.
        bbox_clip_border: whether boxes are cut to the window.
    """

    def __init__(self, crop_size: tuple, crop_type: str = 'absolute', allow_negative_crop: bool = False,
                 recompute_bbox: bool = False, bbox_clip_border: bool = True):
        if crop_type not in _CROP_TYPES:
            raise UserError(f'crop_type of RandomCrop is {crop_type!r}; it must be one of {_CROP_TYPES}')
        absolute = crop_type.startswith('absolute')
        if not all(isinstance(c, int) and c > 0 if absolute else 0 < c <= 1 for c in crop_size):
            raise UserError(f'crop_size of RandomCrop is {crop_size}; with crop_type={crop_type!r} it must be two '
                            + ('positive integers' if absolute else 'numbers in (0, 1]'))
        if crop_type == 'absolute_range' and crop_size[0] > crop_size[1]:
            raise UserError(f'crop_size of RandomCrop is {crop_size}; a range must be (least, most)')
        self.crop_size, self.crop_type = tuple(crop_size), crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox, self.bbox_clip_border = recompute_bbox, bbox_clip_border

    def transform(self, results: dict) -> dict | None:
        image = results['img']
        crop_h, crop_w = self._window(*image.shape[:2])
        y = np.random.randint(max(image.shape[0] - crop_h, 0) + 1)
        x = np.random.randint(max(image.shape[1] - crop_w, 0) + 1)
        _cut(results, (x, y, x + crop_w, y + crop_h), self.bbox_clip_border)
        if 'gt_bboxes' not in results:
            return results
        if not len(results['gt_bboxes']) and not self.allow_negative_crop:
            return None
        if self.recompute_bbox and 'gt_masks' in results:
            results['gt_bboxes'] = results['gt_masks'].get_bboxes()
        return results

    def _window(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the window, drawn where the crop_type is a range."""
        a, b = self.crop_size
        if self.crop_type == 'absolute':
            return min(b, height), min(a, width)
        if self.crop_type == 'absolute_range':
            return tuple(np.random.randint(min(side, a), min(side, b) + 1) for side in (height, width))
        if self.crop_type == 'relative':
            return int(height * b + 0.5), int(width * a + 0.5)
        share_h, share_w = np.random.uniform(self.crop_size, 1)
        return int(height * share_h + 0.5), int(width * share_w + 0.5)


def _cut(results: dict, window: Sequence[int], clip: bool) -> None:
    """Cut image and instances to the window x1, y1, x2, y2."""
    x1, y1, x2, y2 = window
    results['img'] = results['img'][y1:y2, x1:x2]
    results['img_shape'] = results['img'].shape[:2]
    place_instances(results, -x1, -y1, results['img_shape'], clip)


@TRANSFORMS.register_module()
class MinIoURandomCrop(BaseTransform):
    """SSD's crop (arXiv 1512.02325, section 2.2): a window that every box covers to a drawn IoU, or none.

    Instances whose centre lies outside of the window are dropped.

    Args:
        min_ious: least IoUs of window and boxes, of which one is drawn; 1 (no crop) and 0 (any) are among them, too.
        min_crop_size: smallest share of height and of width.
        bbox_clip_border: whether boxes are cut to the window.
    """

    def __init__(self, min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size: float = 0.3,
                 bbox_clip_border: bool = True):
        self.least = (1, *min_ious, 0)
        self.min_crop_size, self.bbox_clip_border = min_crop_size, bbox_clip_border

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        boxes = results['gt_bboxes']
        areas, centers = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (boxes[:, :2] + boxes[:, 2:]) / 2
        while True:
            least = np.random.choice(self.least)
            if least == 1:
                return results
            for _ in range(50):
                w, h = (np.random.uniform(self.min_crop_size * side, side) for side in (width, height))
                x, y = np.random.uniform(width - w), np.random.uniform(height - h)
                window = np.array([x, y, x + w, y + h]).astype(np.int64)
                sides = window[2:] - window[:2]
                if not 0.5 <= h / w <= 2 or not sides.all():
                    continue
                common = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
                common = common.clip(0).prod(axis=1)
                kept = ((centers > window[:2]) & (centers < window[2:])).all(axis=1)
                if len(boxes) and ((common / (areas + sides.prod() - common)).min() < least or not kept.any()):
                    continue
                keep_instances(results, kept)
                _cut(results, window.tolist(), self.bbox_clip_border)
                return results


@TRANSFORMS.register_module()
class Expand(BaseTransform):
    """SSD's zoom out (arXiv 1512.02325, section 2.2): the image somewhere in a larger one.

    Args:
        mean: colour around it, RGB where `to_rgb` as in mmdetection's configs, else BGR.
        ratio_range: how many times as high and wide the larger image is.
        prob: of doing it.
    """

    def __init__(self, mean: Sequence[float] = (0, 0, 0), to_rgb: bool = True,
                 ratio_range: tuple[float, float] = (1, 4), prob: float = 0.5):
        self.color = tuple(mean)[::-1] if to_rgb else tuple(mean)
        self.ratio_range, self.prob = ratio_range, prob

    def transform(self, results: dict) -> dict:
        if np.random.uniform() > self.prob:
            return results
        image = results['img']
        height, width = image.shape[:2]
        ratio = np.random.uniform(*self.ratio_range)
        left, top = int(np.random.uniform(0, width * (ratio - 1))), int(np.random.uniform(0, height * (ratio - 1)))
        results['img'] = np.full((int(height * ratio), int(width * ratio), 3), self.color, image.dtype)
        results['img'][top:top + height, left:left + width] = image
        results['img_shape'] = results['img'].shape[:2]
        place_instances(results, left, top, results['img_shape'])
        return results
