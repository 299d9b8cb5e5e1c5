"""VIA, the VGG Image Annotator, version 1 and 2: a project, or annotations exported as JSON or CSV."""
import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mmdet.errors import UserError

from .options import Options
from .records import Collection, Object, Picture, box_of
from .tree import Tree, read_json, split_of

USUAL = ('class', 'label', 'name', 'type', 'category', 'object')  # the class, where there are several attributes
WITHOUT_AREA = ('point', 'polyline', 'line')
CSV_HEAD = 'region_shape_attributes'


def recognizes(tree: Tree) -> bool:
    return bool(_files(tree))


def read(tree: Tree, options: Options) -> Collection:
    """Polygons, circles and ellipses become masks, rectangles boxes."""
    found = Collection()
    left_out: Counter[str] = Counter()
    for path in _files(tree):
        entries = _rows(path) if path.suffix.lower() == '.csv' else _entries(read_json(path), path)
        attribute = options.class_attribute or _class_attribute(entries, path)
        for name, regions in entries:
            picture = Picture(tree.picture(name, path), 0, 0, split=split_of(path, tree.root))
            found.pictures.append(picture)
            for i, region in enumerate(regions):
                with found.collect():
                    item = _read_region(region, f'{path}: {name}, region {i}', attribute, left_out)
                    if item is not None:
                        picture.objects.append(item)
    found.remarks += [f'left out, because they have no area: {number} regions of shape {kind}'
                      for kind, number in left_out.items()]
    found.name_classes()
    return found


def _files(tree: Tree) -> list[Path]:
    return [path for path in tree.ending('.json', '.csv') if _is_via(path)]


def _is_via(path: Path) -> bool:
    if path.suffix.lower() == '.csv':
        with path.open(encoding='utf-8-sig', errors='replace') as file:
            return CSV_HEAD in file.readline()
    text = path.read_bytes()
    return b'"_via_img_metadata"' in text or b'"regions"' in text and b'"shape_attributes"' in text


def _entries(content: Any, path: Path) -> list[tuple[str, list]]:
    """(file name, regions) of each picture; version 1 numbers its regions in a dict."""
    content = content.get('_via_img_metadata', content) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise UserError(f'{path}: _via_img_metadata must be an object with an entry for each picture')
    entries = []
    for entry in content.values():
        if isinstance(entry, dict) and isinstance(entry.get('filename'), str):
            regions = entry.get('regions') or []
            if not isinstance(regions, (dict, list)):
                raise UserError(f'{path}: {entry["filename"]} has regions that are no list')
            entries.append((entry['filename'], list(regions.values() if isinstance(regions, dict) else regions)))
    return entries


def _rows(path: Path) -> list[tuple[str, list]]:
    regions: dict[str, list] = {}
    with path.open(encoding='utf-8-sig', newline='') as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            name = (row.get('filename') or row.get('#filename') or '').strip()
            try:
                shape, attributes = (json.loads(row[key] or '{}') for key in (CSV_HEAD, 'region_attributes'))
            except (KeyError, ValueError) as error:
                raise UserError(f'{path}, line {number}: region_shape_attributes and region_attributes must be JSON '
                                f'({error})') from None
            known = regions.setdefault(name, [])
            if shape:
                known.append(dict(shape_attributes=shape, region_attributes=attributes))
    return list(regions.items())


def _class_attribute(entries: list[tuple[str, list]], path: Path) -> str:
    """The attribute of regions that is their class: the only one, or that of a usual name."""
    names = Counter(key for _, regions in entries for region in regions
                    if isinstance(region, dict) and isinstance(region.get('region_attributes'), dict)
                    for key in region['region_attributes'])
    chosen = list(names) if len(names) == 1 else [name for name in USUAL for key in names if key.lower() == name][:1]
    if not chosen and names:
        raise UserError(f'{path}: which attribute is the class? Its regions have {", ".join(names)}: give '
                        '--class-attribute NAME')
    return next((key for key in names if key.lower() == chosen[0].lower()), '') if chosen else ''


def _read_region(region: Any, place: str, attribute: str, left_out: Counter) -> Object | None:
    shape = region.get('shape_attributes') if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise UserError(f'{place} has no shape_attributes')
    kind = shape.get('name')
    if kind in WITHOUT_AREA:
        left_out[str(kind)] += 1
        return None
    attributes = region.get('region_attributes')
    name = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(name, dict):  # boxes that are ticked
        ticked = [key for key, value in name.items() if value]
        name = ticked[0] if len(ticked) == 1 else None
    if not isinstance(name, str) or not name.strip():
        raise UserError(f'{place} has no class: its attribute {attribute!r} is {name!r}; it must be one name')
    try:
        if kind in ('rect', 'rectangle'):
            x, y, width, height = (_number(shape[key]) for key in ('x', 'y', 'width', 'height'))
            if min(width, height) < 0:
                raise ValueError
            return Object(name.strip(), (x, y, width, height))
        polygon = _polygon(kind, shape)
    except (KeyError, TypeError, ValueError):
        raise UserError(f'{place} is {json.dumps(shape)[:100]}: it must be a rect, polygon, circle or ellipse, with '
                        'numbers of pixels') from None
    return Object(name.strip(), box_of([polygon]), [polygon])


def _polygon(kind: Any, shape: dict) -> list[float]:
    if kind == 'polygon':
        xs, ys = ([_number(value) for value in shape[f'all_points_{axis}']] for axis in 'xy')
        points = np.array([xs, ys], np.float64).T
        if len(points) > 3 and (points[0] == points[-1]).all():  # version 1 says the first point again
            points = points[:-1]
        if len(points) < 3:
            raise ValueError
        return points.ravel().tolist()
    cx, cy = _number(shape['cx']), _number(shape['cy'])
    if kind not in ('circle', 'ellipse'):
        raise ValueError
    rx, ry = (_number(shape['r']),) * 2 if kind == 'circle' else (_number(shape['rx']), _number(shape['ry']))
    angles = np.arange(72) * np.pi / 36
    turn, x, y = _number(shape.get('theta', 0)), rx * np.cos(angles), ry * np.sin(angles)
    return np.stack([cx + x * np.cos(turn) - y * np.sin(turn), cy + x * np.sin(turn) + y * np.cos(turn)],
                    axis=1).ravel().tolist()


def _number(value: Any) -> float:
    number = float(value)
    if not abs(number) < 1e9:
        raise ValueError
    return number
