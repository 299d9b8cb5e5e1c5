"""Parts of the image hidden."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CutOut(BaseTransform):
    """Fill rectangles of the image with one colour (arXiv 1708.04552). Instances stay as they are.

    Args:
        n_holes: how many, or the range (least, most) to draw from.
        cutout_shape: (width, height) in pixels, or a list of them to draw from.
        cutout_ratio: the same as shares of the image, in place of cutout_shape.
        fill_in: BGR colour.
    """

    def __init__(self, n_holes: int | tuple[int, int], cutout_shape: Sequence | None = None,
                 cutout_ratio: Sequence | None = None, fill_in: Sequence[float] = (0, 0, 0)):
        if (cutout_shape is None) == (cutout_ratio is None):
            raise UserError('CutOut needs either cutout_shape or cutout_ratio')
        self.n_holes = (n_holes, n_holes) if isinstance(n_holes, int) else n_holes
        sizes = cutout_shape or cutout_ratio or ()
        self.sizes = sizes if isinstance(sizes, list) else [sizes]
        self.relative, self.fill_in = cutout_shape is None, fill_in

    def transform(self, results: dict) -> dict:
        image = results['img'].copy()
        height, width = image.shape[:2]
        for _ in range(np.random.randint(self.n_holes[0], self.n_holes[1] + 1)):
            x, y = np.random.randint(width), np.random.randint(height)
            w, h = self.sizes[np.random.randint(len(self.sizes))]
            if self.relative:
                w, h = int(w * width), int(h * height)
            image[y:y + h, x:x + w] = self.fill_in
        results['img'] = image
        return results
