"""Changes of colour, as AutoAugment and RandAugment draw them."""
import math
from collections.abc import Callable

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.registry import TRANSFORMS

from .magnitude import magnitude


class ColorTransform(BaseTransform):
    """A change of the image's colours of a magnitude.

    Args:
        prob: of doing it.
        level: 0..10, from min_mag to max_mag; None draws it.
        min_mag, max_mag: by default those of the class's LIMITS.
    """
    LIMITS: tuple[float, float]
    change: Callable[[np.ndarray, float], np.ndarray]

    def __init__(self, prob: float = 1., level: int | None = None, min_mag: float | None = None,
                 max_mag: float | None = None):
        self.prob, self.level = prob, level
        self.limits = [own if given is None else given
                       for own, given in zip(self.LIMITS, (min_mag, max_mag), strict=True)]

    def transform(self, results: dict) -> dict:
        if np.random.rand() <= self.prob:
            image = results['img']
            results['img'] = self.change(image, magnitude(self.level, *self.limits)).astype(image.dtype)
        return results


def _transform(name: str, change: Callable, least: float, most: float, doc: str) -> type[ColorTransform]:
    made = type(name, (ColorTransform,), dict(__doc__=doc, __module__=__name__, LIMITS=(least, most),
                                              change=staticmethod(change)))
    return TRANSFORMS.register_module(module=made)


Color = _transform('Color', mmcv.adjust_color, 0.1, 1.9, 'Saturation: 0 is gray, 1 the image.')
Brightness = _transform('Brightness', mmcv.adjust_brightness, 0.1, 1.9, '0 is black, 1 the image.')
Contrast = _transform('Contrast', mmcv.adjust_contrast, 0.1, 1.9, '0 is an even gray, 1 the image.')
Sharpness = _transform('Sharpness', mmcv.adjust_sharpness, 0.1, 1.9, '0 is blurred, 1 the image.')
Solarize = _transform('Solarize', mmcv.solarize, 0., 256., 'Inverts the values from the magnitude on.')
SolarizeAdd = _transform('SolarizeAdd', lambda image, add: np.where(image < 128, (image + add).clip(0, 255), image),
                         0., 110., 'Adds the magnitude to the values below 128.')
Posterize = _transform('Posterize', lambda image, amount: mmcv.posterize(image, math.ceil(amount)), 0., 4.,
                       'Keeps so many bits of each value.')
Equalize = _transform('Equalize', lambda image, _: mmcv.imequalize(image), 0.1, 1.9, 'Spreads the values evenly.')
AutoContrast = _transform('AutoContrast', lambda image, _: mmcv.auto_contrast(image), 0.1, 1.9,
                          'Stretches the values of each channel to 0..255.')
Invert = _transform('Invert', lambda image, _: mmcv.iminvert(image), 0.1, 1.9, '255 minus each value.')
