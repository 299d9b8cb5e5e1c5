"""Pictures from the bytes of a file; what is cut short, or no picture, is named."""
import io
import warnings

import cv2
import mmcv
import numpy as np
from PIL import Image

from mmdet.errors import UserError

from .jpeg import has_every_scan, jpeg_end

# Data that change a picture which is not at its end yet; some of its kinds wait for one of 8 restart markers first.
_PROBES = [bytes(range(1, 97, 3)), bytes(range(250, 2, -4))]
_PROBES += [bytes([0xff, 0xd0 + i]) + _PROBES[0] for i in range(8)]


def decode_image(data: bytes, name: str, color_type: str = 'color', backend: str | None = 'cv2') -> np.ndarray:
    """The picture (H, W, 3) uint8 BGR in the bytes of a file; other forms by `color_type`, see mmcv.imfrombytes.

    Args:
        name: what to call it in an error, such as its path.

    Raises:
        ValueError: no picture, or one that is cut short (cv2 would fill the rest with grey).
    """
    if data.startswith(b'\xff\xd8'):
        data = _whole_jpeg(data, name)
    elif data.startswith(b'\x89PNG') and not _png_has_end(data):
        raise _cut_short(data, name)
    image = _decoded(data, color_type, backend)
    if image is None:
        raise UserError(f'image {name} ({len(data)} bytes) is no image that {backend} can read: replace it')
    return image


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1 (upright) to 8; 5 to 8 swap width and height."""
    try:
        return int(Image.open(io.BytesIO(data)).getexif().get(0x112, 1))
    except (OSError, ValueError, TypeError, SyntaxError):
        return 1


def _decoded(data: bytes, color_type: str, backend: str | None) -> np.ndarray | None:
    try:
        return mmcv.imfrombytes(data, flag=color_type, backend=backend)
    except (cv2.error, OSError, SyntaxError, Image.DecompressionBombError):
        return None


def _whole_jpeg(data: bytes, name: str) -> bytes:
    """The JPEG, its end marker added where nothing but that is missing."""
    if data.endswith(b'\xff\xd9') or jpeg_end(data) is not None:
        return data
    start = data.removesuffix(b'\xff')
    if not has_every_scan(data) or data.endswith((bytes(16), b'\xff' * 16)) or not _is_whole(start):
        raise _cut_short(data, name)
    warnings.warn(f'image {name} lacks its end marker, the last two bytes; the picture is whole', stacklevel=2)
    return start + b'\xff\xd9'


def _is_whole(start: bytes) -> bool:
    """Whether a JPEG without end marker has all of its picture: else that would depend on what follows."""
    first, *others = (_decoded(start + probe + b'\xff\xd9', 'unchanged', 'cv2') for probe in (b'', *_PROBES))
    return first is not None and all(other is not None and np.array_equal(first, other) for other in others)


def _png_has_end(data: bytes) -> bool:
    position = 8
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position:position + 4], 'big')
        if data[position + 4:position + 8] == b'IEND':
            return end <= len(data)
        position = end
    return False


def _cut_short(data: bytes, name: str) -> UserError:
    return UserError(f'image {name} is cut short: its {len(data)} bytes have no end marker. Copy or download it again.')
