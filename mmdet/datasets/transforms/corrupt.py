"""Corrupted images."""
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

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

    Raises:
        ValueError: imagecorruptions is not installed. What it cannot do shows when the transform is built.
    """

    def __init__(self, corruption: str, severity: int = 1):
        self.corruption, self.severity = corruption, severity
        self.transform(dict(img=np.zeros((64, 64, 3), np.uint8)))

    def transform(self, results: dict) -> dict:
        results['img'] = _package_function()(results['img'].astype(np.uint8), corruption_name=self.corruption,
                                             severity=self.severity)
        return results


def _package_function() -> Callable:
    """imagecorruptions.corrupt. The package asks setuptools, NumPy and scikit-image for what they have no more."""
    def file_of(package: str, path: str) -> str:
        return str(Path(str(sys.modules[package].__file__)).parent / path)
    stand_in: Any = ModuleType('pkg_resources')
    stand_in.resource_filename = file_of
    missing = sys.modules.setdefault('pkg_resources', stand_in) is stand_in
    try:
        from imagecorruptions import corrupt, corruptions
    except ImportError as error:
        raise UserError(f"the transform Corrupt needs imagecorruptions ({error}): pip install 'mmdet-norms[corrupt]'"
                        ) from None
    finally:
        if missing:
            del sys.modules['pkg_resources']
    if not isinstance(corruptions.np, _OldNumPy):
        gaussian = corruptions.gaussian
        corruptions.np = _OldNumPy()
        corruptions.gaussian = lambda image, *sigma, multichannel=False, **options: gaussian(
            image, *sigma, channel_axis=-1 if multichannel else None, **options)
    return corrupt


class _OldNumPy:
    """NumPy with the name that NumPy 2 dropped."""
    float_ = np.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)
