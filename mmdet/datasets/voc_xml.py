"""One annotation file of Pascal VOC."""
import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mmdet.errors import MissingFileError, UserError

FLAGS = ('difficult', 'truncated', 'occluded')


class VocObject(NamedTuple):
    name: str
    corners: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax as in the file
    polygon: list[float]                        # x1, y1, x2, y2, ...; empty where there is none
    notes: dict                                 # pose, and 0 or 1 of FLAGS, as far as the file has them

    @property
    def difficult(self) -> bool:
        return bool(self.notes.get('difficult'))


class VocFile(NamedTuple):
    filename: str                  # of the picture; empty where the file does not tell
    size: tuple[int, int] | None   # height and width in pixels
    objects: list[VocObject]


def read_voc_xml(path: str | Path) -> VocFile:
    """Read `path`. Raises FileNotFoundError or ValueError that names file, object, value and cure."""
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise MissingFileError(f'annotation file {path} does not exist') from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # of an encoding that Python does not know, too
        raise UserError(f'annotation file {path} is no XML, or cut short: {error}') from None
    if root.tag != 'annotation':
        raise UserError(f"annotation file {path} is no file of Pascal VOC: it begins with <{root.tag}>, which must be "
                        '<annotation>')
    objects = [_object(node, f'{path}: object {i}') for i, node in enumerate(root.findall('object'))]
    return VocFile(_text(root, 'filename'), _size(root), objects)


def _object(node: ElementTree.Element, place: str) -> VocObject:
    name = _text(node, 'name')
    if not name:
        raise UserError(f'{place} has no <name>: add the name of its class')
    place += f' ({name})'
    box = node.find('bndbox')
    if box is None:
        raise UserError(f'{place} has no <bndbox>: add it, with <xmin>, <ymin>, <xmax> and <ymax> in pixels')
    x1, y1, x2, y2 = (_number(box, side, place) for side in ('xmin', 'ymin', 'xmax', 'ymax'))
    if x2 < x1 or y2 < y1:
        raise UserError(f'{place} has the bndbox {x1:g}, {y1:g}, {x2:g}, {y2:g}: '
                        f'{"xmax" if x2 < x1 else "ymax"} must not be less than {"xmin" if x2 < x1 else "ymin"}; '
                        'swap or correct them')
    notes: dict = {}
    for flag in FLAGS:
        text = _text(node, flag).lower()
        if text not in ('', '0', '1', 'false', 'true'):
            raise UserError(f'{place} has <{flag}>{text}</{flag}>: it must be 0 or 1')
        if text:
            notes[flag] = int(text in ('1', 'true'))
    if _text(node, 'pose'):
        notes['pose'] = _text(node, 'pose')
    return VocObject(name, (x1, y1, x2, y2), _polygon(node, place), notes)


def _polygon(node: ElementTree.Element, place: str) -> list[float]:
    """<polygon><x1>..</x1><y1>..</y1><x2>...; it is no part of Pascal VOC, but some programs write it."""
    polygon = node.find('polygon')
    count = len(polygon) // 2 if polygon is not None else 0
    points = [_number(polygon, f'{axis}{i}', place) for i in range(1, count + 1) for axis in 'xy'] \
        if polygon is not None else []
    return points if count >= 3 else []


def _number(node: ElementTree.Element, tag: str, place: str) -> float:
    text = _text(node, tag)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e9:
        raise UserError(f'{place} has {f"<{tag}>{text}</{tag}>" if text else f"no <{tag}>"}: it must be a number of '
                        'pixels')
    return value


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height, width = (int(float(_text(root, f'size/{side}'))) for side in ('height', 'width'))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _text(node: ElementTree.Element, tag: str) -> str:
    return (node.findtext(tag) or '').strip()
