"""Corrupted images."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt the image by the package imagecorruptions (arXiv 1907.07484): noise, blur, weather, compression.

    Args:
        corruption: its name, such as 'gaussian_noise'.
        severity: 1..5.
    """

    def __init__(self, corruption: str, severity: int = 1):
        try:
            from imagecorruptions import corrupt
        except ImportError as error:
            raise UserError(f"the transform Corrupt needs imagecorruptions ({error}): pip install "
                            "'mmdet-norms[corrupt]'") from None
        self.corrupt, self.corruption, self.severity = corrupt, corruption, severity

    def transform(self, results: dict) -> dict:
        results['img'] = self.corrupt(results['img'].astype(np.uint8), corruption_name=self.corruption,
                                      severity=self.severity)
        return results
