"""What may be given as an image, and how it becomes the path or the array that the test pipeline takes."""
import os
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from mmdet.datasets.image_file import decode_image
from mmdet.errors import UserError

TAKEN = ('An image is a path, a URL, a PIL image, an image file that is open or given as bytes, or an array (H, W, 3) '
         'BGR, (H, W, 4) BGRA or (H, W) gray, of uint8, of uint16 or of floats from 0 to 255')
_ONE = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, torch.Tensor, Image.Image, Mapping)


def as_image(image: Any) -> str | np.ndarray:
    """A path or URL as text; anything else as an array (H, W, 3) BGR, uint8 or, from floats, float32.

    Raises ValueError that says what is taken.
    """
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    if isinstance(image, Image.Image):
        if image.mode.startswith(('I', 'F')):  # more than 8 bits
            return _channels(_values(np.array(image)))
        return np.array(ImageOps.exif_transpose(image).convert('RGB'))[..., ::-1].copy()
    if isinstance(image, np.ndarray):
        return _channels(_values(image))
    if hasattr(image, 'read'):
        image = image.read()
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image), 'given as bytes')
    hint = ' Its channels have no known order: give image.permute(1, 2, 0).numpy(), as BGR.' \
        if isinstance(image, torch.Tensor) else ''
    raise UserError(f'an image is given as {type(image).__module__}.{type(image).__qualname__}.{hint} {TAKEN}')


def is_one_image(inputs: Any) -> bool:
    """Whether `inputs` is meant as one image, and not as a list, a generator or the like of them."""
    return isinstance(inputs, _ONE) or hasattr(inputs, 'read') or not isinstance(inputs, Iterable)


def _values(image: np.ndarray) -> np.ndarray:
    """uint8, or float32 from 0 to 255. Wider integers are the numbers of uint8, or uint16 whose high byte counts."""
    if image.dtype == np.uint8 or not image.size:
        return image
    if image.dtype.kind not in 'iuf' or not np.isfinite(image).all():
        raise UserError(f'an image is an array of {image.dtype}'
                        + (' with NaN or infinite values' if image.dtype.kind == 'f' else '') + f'. {TAKEN}')
    low, high = image.min(), image.max()
    if image.dtype.kind == 'f':
        if low < 0 or high > 255 or 0 < high <= 1:
            raise UserError(f'an image is an array of {image.dtype} from {low:g} to {high:g}: '
                            + ('multiply it by 255' if 0 <= low and high <= 1 else 'scale it to 0..255') + f'. {TAKEN}')
        return image.astype(np.float32)
    if low < 0 or high > 65535:
        raise UserError(f'an image is an array of {image.dtype} from {low} to {high}. {TAKEN}')
    return (image if high <= 255 else image >> 8).astype(np.uint8)


def _channels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) from gray, BGR or BGRA."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
        hint = {3: ' Give image.transpose(1, 2, 0).' if image.shape[0] in (1, 3, 4) else '',
                4: ' Give several images as a list.'}.get(image.ndim, '')
        raise UserError(f'an image is an array of shape {image.shape}.{hint} {TAKEN}')
    if channels == 3:
        return image
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR)
