"""Affine maps of the image with its boxes and masks."""
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from .instances import drop_outside
from .magnitude import magnitude

_INTERPOLATION = dict(nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC,
                      area=cv2.INTER_AREA, lanczos=cv2.INTER_LANCZOS4)


def warp(results: dict, matrix: np.ndarray, height: int, width: int, border: tuple, interpolation: str = 'bilinear',
         clip: bool = True) -> None:
    """Map image, boxes and masks by `matrix` (3, 3) of pixels (x, y, 1) into an image of height x width.

    A box becomes the one round its four corners. Instances that come to lie outside are dropped.
    """
    def moved(points: np.ndarray) -> np.ndarray:
        return points @ matrix[:2, :2].T + matrix[:2, 2]

    def warped(image: np.ndarray, flags: int, value: Any) -> np.ndarray:
        return cv2.warpAffine(image, matrix[:2], (width, height), flags=flags, borderValue=value)

    results['img'] = warped(results['img'], _INTERPOLATION[interpolation], border)
    results['img_shape'] = results['img'].shape[:2]
    masks = results.get('gt_masks')
    if isinstance(masks, PolygonMasks):
        polygons = [[moved(polygon.reshape(-1, 2)).ravel() for polygon in mask] for mask in masks]
        results['gt_masks'] = PolygonMasks(polygons, height, width).expand(height, width, 0, 0)
    elif masks is not None:
        results['gt_masks'] = BitmapMasks([warped(mask, cv2.INTER_LINEAR, 0) for mask in masks], height, width)
    if 'gt_bboxes' in results:
        corners = moved(results['gt_bboxes'][:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
        drop_outside(results, boxes, (height, width), clip)


@TRANSFORMS.register_module()
class RandomAffine(BaseTransform):
    """Scale, rotate, shear and translate, in this order, round the upper left corner.

    Args:
        max_rotate_degree, max_shear_degree: largest angles, either way.
        max_translate_ratio: largest shares of the width and the height.
        scaling_ratio_range: of the factor.
        border: added (x, y) at both sides; negative to cut.
        border_val: BGR colour of what is empty.
        bbox_clip_border: whether boxes are cut to the image.
    """

    def __init__(self, max_rotate_degree: float = 10., max_translate_ratio: float = 0.1,
                 scaling_ratio_range: tuple[float, float] = (0.5, 1.5), max_shear_degree: float = 2.,
                 border: tuple[int, int] = (0, 0), border_val: tuple[int, int, int] = (114, 114, 114),
                 bbox_clip_border: bool = True):
        self.max_rotate_degree, self.max_shear_degree = max_rotate_degree, max_shear_degree
        self.max_translate_ratio, self.scaling_ratio_range = max_translate_ratio, scaling_ratio_range
        self.border, self.border_val, self.bbox_clip_border = border, border_val, bbox_clip_border

    def transform(self, results: dict) -> dict:
        height, width = np.array(results['img'].shape[:2]) + 2 * np.array(self.border[::-1])
        angle = math.radians(np.random.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = np.random.uniform(*self.scaling_ratio_range)
        shear = np.tan(np.radians(np.random.uniform(-self.max_shear_degree, self.max_shear_degree, 2)))
        shift = np.random.uniform(-self.max_translate_ratio, self.max_translate_ratio, 2) * (width, height)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = np.eye(3)
        matrix[:2, :2] = np.array([[1, shear[0]], [shear[1], 1]]) @ rotation * scale
        matrix[:2, 2] = shift
        warp(results, matrix, int(height), int(width), tuple(self.border_val), clip=self.bbox_clip_border)
        return results


class GeomTransform(BaseTransform):
    """An affine map of a magnitude, as AutoAugment and RandAugment draw them.

    Args:
        prob: of doing it.
        level: 0..10, from min_mag to max_mag; None draws it.
        min_mag, max_mag: degrees or share of the side; max_mag is the class's MOST by default.
        reversal_prob: of the positive direction.
        img_border_value: colour of what is empty, one number or BGR.
        mask_border_value, seg_ignore_label: accepted for mmdetection's configs.
        interpolation: 'nearest', 'bilinear', 'bicubic', 'area' or 'lanczos', of the image.
    """
    MOST: float
    matrix: Callable[[float, int, int], list]  # first two rows of the map, of magnitude, height and width

    def __init__(self, prob: float = 1., level: int | None = None, min_mag: float = 0.,
                 max_mag: float | None = None, reversal_prob: float = 0.5, img_border_value: float | tuple = 128,
                 mask_border_value: int = 0, seg_ignore_label: int = 255, interpolation: str = 'bilinear'):
        if interpolation not in _INTERPOLATION:
            raise UserError(f'{type(self).__name__}: interpolation={interpolation!r} is none of {[*_INTERPOLATION]}')
        self.prob, self.level, self.reversal_prob, self.interpolation = prob, level, reversal_prob, interpolation
        self.limits = min_mag, self.MOST if max_mag is None else max_mag
        self.border = (img_border_value,) * 3 if isinstance(img_border_value, (int, float)) else img_border_value

    def transform(self, results: dict) -> dict:
        if np.random.rand() > self.prob:
            return results
        amount = magnitude(self.level, *self.limits) * (-1 if np.random.rand() > self.reversal_prob else 1)
        height, width = results['img'].shape[:2]
        matrix = np.array([*self.matrix(amount, height, width), [0, 0, 1]], np.float64)
        warp(results, matrix, height, width, self.border, self.interpolation)
        return results


def _transform(name: str, matrix: Callable, most: float, doc: str) -> type[GeomTransform]:
    made = type(name, (GeomTransform,), dict(__doc__=doc, __module__=__name__, MOST=most, matrix=staticmethod(matrix)))
    return TRANSFORMS.register_module(module=made)


ShearX = _transform('ShearX', lambda amount, h, w: [[1, math.tan(math.radians(amount)), 0], [0, 1, 0]], 30.,
                    'Shears horizontally by an angle in degrees.')
ShearY = _transform('ShearY', lambda amount, h, w: [[1, 0, 0], [math.tan(math.radians(amount)), 1, 0]], 30.,
                    'Shears vertically by an angle in degrees.')
Rotate = _transform('Rotate', lambda amount, h, w: cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -amount, 1), 30.,
                    'Rotates clockwise round the centre by an angle in degrees.')
TranslateX = _transform('TranslateX', lambda amount, h, w: [[1, 0, int(w * amount)], [0, 1, 0]], 0.1,
                        'Moves to the right by a share of the width, in whole pixels.')
TranslateY = _transform('TranslateY', lambda amount, h, w: [[1, 0, 0], [0, 1, int(h * amount)]], 0.1,
                        'Moves down by a share of the height, in whole pixels.')
