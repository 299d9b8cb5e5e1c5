"""Objects of a picture as it is stored, turned as EXIF turns the picture."""
import numpy as np
from pycocotools import mask as mask_api

from .records import Mask, Object, box_of, encode


def turn(item: Object, orientation: int, height: int, width: int) -> None:
    """Turn in place. height, width: of the stored picture. orientation: EXIF's, 5 to 8, which swap the two."""
    x, y, w, h = item.box
    corners = _points([x, y, x + w, y + h], orientation, height, width)
    item.box = box_of([corners])
    item.mask = _mask(item.mask, orientation, height, width) if item.mask else item.mask


def _mask(mask: Mask, orientation: int, height: int, width: int) -> Mask:
    if isinstance(mask, list):
        return [_points(polygon, orientation, height, width) for polygon in mask]
    pixels = mask_api.decode(mask)
    if orientation == 5:
        return encode(pixels.T)
    if orientation == 7:
        return encode(np.rot90(pixels, 2).T)
    return encode(np.rot90(pixels, -1 if orientation == 6 else 1))


def _points(flat: list[float], orientation: int, height: int, width: int) -> list[float]:
    x, y = np.reshape(flat, (-1, 2)).T
    across = height - y if orientation in (6, 7) else y
    down = width - x if orientation in (7, 8) else x
    return np.stack([across, down], axis=1).ravel().tolist()
