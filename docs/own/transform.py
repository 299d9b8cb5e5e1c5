"""A transform that makes pictures darker or brighter."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomGamma(BaseTransform):
    """Raise the pixels, as shares of 255, to a random power between 1 / largest and largest."""

    def __init__(self, largest=1.5):
        self.largest = largest

    def transform(self, results):
        """results: the dict that every transform gets and returns; `img` is (H, W, 3) BGR."""
        power = self.largest ** np.random.uniform(-1, 1)  # np.random is seeded by picture and epoch
        table = 255 * np.linspace(0, 1, 256) ** power
        results['img'] = table.round().astype(np.uint8)[results['img']]
        return results
