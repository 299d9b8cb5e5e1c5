"""Pictures as files: which there are, and the size of one without decoding it."""
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mmdet.errors import MissingFileError, UserError

PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


class PictureSize(NamedTuple):
    """Height and width in pixels of the picture as it is shown, and EXIF's orientation, 1 (as stored) to 8."""
    height: int
    width: int
    orientation: int


def picture_size(path: str | Path) -> PictureSize:
    """The size of the picture `path`, read from its first bytes. Raises FileNotFoundError or ValueError."""
    try:
        with Image.open(path) as picture:
            (width, height), orientation = picture.size, picture.getexif().get(0x112, 1)
    except FileNotFoundError:
        raise MissingFileError(f'image {path} does not exist') from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f'image {path} cannot be read: {error}') from None
    if orientation not in range(1, 9):
        orientation = 1
    return PictureSize(width, height, orientation) if orientation >= 5 else PictureSize(height, width, orientation)


def is_picture(path: Path) -> bool:
    """By its name; names with a dot first are notes of a system beside a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith('.')
