"""labelme: a JSON file a picture, beside it."""
import base64
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as mask_api

from mmdet.errors import UserError
from mmdet.progress import progress

from .options import Options
from .output import Output
from .records import Collection, Mask, Object, Picture, box_of, encode
from .tree import Tree, read_json, split_of

WITHOUT_AREA = ('point', 'points', 'line', 'linestrip')
FLAGS = ('crowd', 'difficult', 'truncated', 'occluded')


def recognizes(tree: Tree) -> bool:
    return any(b'"shapes"' in _ends(path) or b'"imagePath"' in _ends(path) for path in tree.ending('.json')[:20])


def read(tree: Tree, options: Options) -> Collection:
    """Polygons, circles and masks become masks, rectangles boxes. Those of one label and group_id are one object."""
    found = Collection()
    left_out: dict[str, int] = {}
    for path in progress(tree.ending('.json'), 'reading'):
        with found.collect():
            content = read_json(path)
            if isinstance(content, dict) and not isinstance(content.get('shapes', []), list):
                raise UserError(f'{path}: shapes must be a list')
            if not isinstance(content, dict) or 'shapes' not in content:
                found.remarks.append(f'{path} is no file of labelme: it has no list "shapes"')
                continue
            image = tree.picture(str(content.get('imagePath') or path.stem), path)
            if not image.exists():  # renamed together with its file
                image = tree.picture(path.stem, path)
            sides = [content.get(f'image{side}') for side in ('Height', 'Width')]
            height, width = (int(side) if isinstance(side, (int, float)) and 1 <= side < 1e9 else 0 for side in sides)
            picture = Picture(image, height, width, split=split_of(path, tree.root))
            if not height or not width:
                picture.height = picture.width = 0
            groups: dict[tuple, Object] = {}
            for i, shape in enumerate(content['shapes']):
                with found.collect():
                    _add_shape(shape, f'{path}: shapes[{i}]', picture, groups, left_out)
            found.pictures.append(picture)
    found.remarks += [f'left out, because they have no area: {number} shapes of type {kind}'
                      for kind, number in left_out.items()]
    found.name_classes()
    return found


def write(collection: Collection, out: Path, options: Options) -> None:
    """Pictures, each with its JSON file beside it, in the folder `out`."""
    output = Output(collection, out)
    for picture in progress(collection.pictures, 'writing'):
        name, shapes = output.flat_name(picture), []
        for number, item in enumerate(picture.objects):
            flags = {flag: True for flag in FLAGS if item.notes.get(flag) or flag == 'crowd' and item.crowd}
            drawn = _shapes(item)
            group = number if len(drawn) > 1 else None
            shapes += [dict(label=item.name, group_id=group, flags=flags, **shape) for shape in drawn]
        output.text(f'{Path(name).stem}.json', json.dumps(
            dict(version='5.5.0', flags={}, shapes=shapes, imagePath=name, imageData=None, imageHeight=picture.height,
                 imageWidth=picture.width), indent=1, ensure_ascii=False))
        output.picture(picture, name)
    output.finish()


def _add_shape(shape: dict, place: str, picture: Picture, groups: dict, left_out: dict[str, int]) -> None:
    kind = (shape.get('shape_type') or 'polygon') if isinstance(shape, dict) else ''
    if not isinstance(shape, dict) or not isinstance(shape.get('label'), str) or not shape['label']:
        raise UserError(f'{place} has no label: give it the name of its class')
    place += f' ({shape["label"]})'
    if kind in WITHOUT_AREA:
        left_out[kind] = left_out.get(kind, 0) + 1
        return
    points = _points(shape.get('points'), place)
    flags = shape.get('flags')
    flags = flags if isinstance(flags, dict) else {}
    notes = {flag: 1 for flag in FLAGS[1:] if flags.get(flag) or shape.get(flag) is True}
    crowd = bool(flags.get('crowd') or notes.get('difficult'))
    if kind == 'rectangle' and len(points) >= 2:
        picture.objects.append(Object(shape['label'], box_of([sum(points, [])]), crowd=crowd, notes=notes))
        return
    if kind == 'mask':
        mask: Mask = _pixels(shape, points, place, picture)
    else:
        mask = [_polygon(kind, points, place)]
    group = shape.get('group_id')
    key = (shape['label'], group if isinstance(group, (int, str)) else None)
    first = groups.get(key) if key[1] is not None else None
    if first is None or isinstance(first.mask, dict) or isinstance(mask, dict):
        box: Sequence[float] = mask_api.toBbox(mask).tolist() if isinstance(mask, dict) else box_of(mask)
        item = Object(shape['label'], (box[0], box[1], box[2], box[3]), mask, crowd=crowd, notes=notes)
        picture.objects.append(item)
        if key[1] is not None:
            groups[key] = item
    elif first.mask is not None:
        first.mask = first.mask + mask
        first.box = box_of(first.mask)


def _points(points: object, place: str) -> list[list[float]]:
    try:
        values = np.asarray(points, np.float64).reshape(-1, 2)
        if len(values) and (np.abs(values) < 1e9).all():
            return values.tolist()
    except (TypeError, ValueError):
        pass
    raise UserError(f'{place} has the points {points!r:.60}: they must be a list of [x, y] in pixels')


def _polygon(kind: str, points: list[list[float]], place: str) -> list[float]:
    if kind == 'circle' and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        number = max(12, math.ceil(math.pi / math.acos(1 - min(0.05 / max(radius, 1), 1))))  # to 0.05 pixels
        angles = np.arange(number) * 2 * np.pi / number
        return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1).ravel().tolist()
    if kind in ('polygon', 'rotation', 'oriented_rectangle') and len(points) >= 3:
        return sum(points, [])
    raise UserError(f'{place} is a {kind} of {len(points)} points: known are polygon (3 or more), rectangle, circle '
                    f'(2) and mask; {", ".join(WITHOUT_AREA)} are left out')


def _pixels(shape: dict, points: list[list[float]], place: str, picture: Picture) -> dict:
    try:
        window = np.array(Image.open(io.BytesIO(base64.b64decode(shape['mask']))).convert('L')) > 0
    except (KeyError, TypeError, ValueError, OSError):
        raise UserError(f'{place} has no mask that can be read: it must be a PNG in base64') from None
    x, y = (round(side) for side in points[0])
    pixels = np.zeros((picture.height, picture.width), bool)
    place_in_picture = pixels[max(y, 0):y + window.shape[0], max(x, 0):x + window.shape[1]]
    if place_in_picture.shape != window.shape:
        raise UserError(f'{place} has a mask of {window.shape[1]} x {window.shape[0]} pixels at {x}, {y}, which is not '
                        f'inside of the picture of {picture.width} x {picture.height}')
    place_in_picture[:] = window
    return encode(pixels)


def _shapes(item: Object) -> list[dict]:
    x, y, width, height = item.box
    if isinstance(item.mask, list) and item.mask:
        return [dict(shape_type='polygon', points=np.reshape(polygon, (-1, 2)).tolist()) for polygon in item.mask]
    if not item.mask:
        return [dict(shape_type='rectangle', points=[[x, y], [x + width, y + height]])]
    left, top, wide, high = (round(side) for side in mask_api.toBbox(item.mask).tolist())
    file = io.BytesIO()
    Image.fromarray(mask_api.decode(item.mask)[top:top + high, left:left + wide].astype(bool)).save(file, 'PNG')
    return [dict(shape_type='mask', points=[[left, top], [left + wide - 1, top + high - 1]],
                 mask=base64.b64encode(file.getvalue()).decode())]


def _ends(path: Path) -> bytes:
    """The first and last bytes of a file: between them may be the picture itself."""
    with path.open('rb') as file:
        start = file.read(3000)
        file.seek(max(path.stat().st_size - 500, 0))
        return start + file.read()
