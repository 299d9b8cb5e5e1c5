"""Random crops."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS

from .instances import keep_instances

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
        results['img'] = image[y:y + crop_h, x:x + crop_w]
        results['img_shape'] = height, width = results['img'].shape[:2]
        if 'gt_bboxes' not in results:
            return results
        boxes = results['gt_bboxes'] - np.array([x, y, x, y], np.float32)
        inside = (boxes[:, :2] < (width, height)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
        if not inside.any() and not self.allow_negative_crop:
            return None
        if self.bbox_clip_border:
            boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        results['gt_bboxes'] = boxes
        keep_instances(results, inside)
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].crop(np.array([x, y, x + crop_w, y + crop_h]))
            if self.recompute_bbox:
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
