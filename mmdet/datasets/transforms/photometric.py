"""Random changes of brightness, contrast and colour."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """SSD's colour distortion (arXiv 1512.02325, section 2.2): each change has probability 0.5.

    Args:
        brightness_delta: largest amount added to the pixels, in 0..255.
        contrast_range: factor of the pixels, before or after the changes of colour.
        saturation_range: factor of the saturation.
        hue_delta: largest amount added to the hue, in degrees.
    """

    def __init__(self, brightness_delta: float = 32, contrast_range: tuple[float, float] = (0.5, 1.5),
                 saturation_range: tuple[float, float] = (0.5, 1.5), hue_delta: float = 18):
        self.brightness_delta, self.contrast_range = brightness_delta, contrast_range
        self.saturation_range, self.hue_delta = saturation_range, hue_delta

    def transform(self, results: dict) -> dict:
        contrast_first, brighten, contrast, saturate, shift_hue, swap = np.random.randint(2, size=6).astype(bool)
        image = results['img'].astype(np.float32)
        if brighten:
            image += np.float32(np.random.uniform(-self.brightness_delta, self.brightness_delta))
        factor = np.float32(np.random.uniform(*self.contrast_range))
        if contrast and contrast_first:
            image *= factor
        if saturate or shift_hue:
            image = self._recolour(image, saturate, shift_hue)
        if contrast and not contrast_first:
            image *= factor
        if swap:
            image = image[..., np.random.permutation(3)]
        results['img'] = image
        return results

    def _recolour(self, image: np.ndarray, saturate: bool, shift_hue: bool) -> np.ndarray:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)  # hue 0..360, saturation 0..1
        if saturate:
            hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(np.random.uniform(*self.saturation_range)), 0, 1)
        if shift_hue:
            hsv[..., 0] = (hsv[..., 0] + np.float32(np.random.uniform(-self.hue_delta, self.hue_delta))) % 360
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
