"""COCO's JSON, as CVAT, Label Studio, Roboflow and VIA write it, too."""
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from pycocotools import mask as mask_api

from ..annotations.build import build_table
from ..annotations.json_file import Entries, read_entries
from ..annotations.segmentation import unusual_segmentation
from ..coco_json import coco_dict
from ..picture_file import picture_size
from .options import Options
from .records import Collection, Object, Picture, area_of, box_of
from .tree import Tree, split_of

OWN = dict(images=('id', 'file_name', 'height', 'width'), categories=('id', 'name'),
           annotations=('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation'))


def recognizes(tree: Tree) -> bool:
    return bool(_files(tree))


def read(tree: Tree, options: Options) -> Collection:
    """Ids, areas and everything else that entries hold is kept."""
    found = Collection()
    for path in _files(tree):
        with found.collect():
            _read_file(path, tree, found)
    return found


def write(collection: Collection, out: Path, options: Options) -> None:
    """One JSON file; its file names are relative to collection.folder()."""
    folder, pictures = collection.folder(), collection.pictures
    image_ids = _ids([picture.id for picture in pictures])
    items = [(i, item) for i, picture in enumerate(pictures) for item in picture.objects]
    object_ids = _ids([item.id for _, item in items])
    category_ids = dict(zip(collection.classes, _ids([collection.categories.get(name, {}).get('id')
                                                      for name in collection.classes]), strict=True))
    images = [{**picture.notes, 'id': number, 'file_name': _name(picture.path, folder), 'height': picture.height,
               'width': picture.width} for number, picture in zip(image_ids, pictures, strict=True)]
    categories = [{**collection.categories.get(name, {}), 'id': number, 'name': name}
                  for name, number in category_ids.items()]
    annotations = []
    for number, (i, item) in zip(object_ids, items, strict=True):
        annotation = {**item.notes, 'id': number, 'image_id': image_ids[i], 'category_id': category_ids[item.name],
                      'bbox': list(item.box), 'area': area_of(item, pictures[i].height, pictures[i].width),
                      'iscrowd': int(item.crowd)}
        annotations.append({**annotation, 'segmentation': item.mask} if item.mask else annotation)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.part')
    part.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories), ensure_ascii=False),
                    encoding='utf-8')
    part.replace(out)


def _files(tree: Tree) -> list[Path]:
    """JSON files that have the list `images`, or `annotations`."""
    return [path for path in tree.ending('.json') if _has_lists(path)]


def _has_lists(path: Path) -> bool:
    class Lists(msgspec.Struct):
        images: list[msgspec.Raw]
        categories: list[msgspec.Raw]
    try:
        msgspec.json.decode(path.read_bytes().removeprefix(b'\xef\xbb\xbf'), type=Lists)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _read_file(path: Path, tree: Tree, found: Collection) -> None:
    raw = read_entries(str(path), None)
    images, annotations, categories = ([msgspec.json.decode(entry) for entry in entries] for entries in raw[:3])
    paths = []
    for image in images:
        name = image.get('file_name') if isinstance(image, dict) else None
        paths.append(tree.picture(name if isinstance(name, str) else '', path))
        if isinstance(image, dict) and not (image.get('height') and image.get('width')):
            image['height'], image['width'] = picture_size(paths[-1])[:2]
    for annotation in annotations:
        if isinstance(annotation, dict) and not annotation.get('bbox') and annotation.get('segmentation'):
            annotation['bbox'] = _box(annotation['segmentation'])
    entries = Entries(_encoded(images), _encoded(annotations), _encoded(categories), raw.complete)
    content = coco_dict(build_table(entries, str(path)))
    parents = _parents(categories, annotations)
    if parents:
        found.remarks.append(f'{path}: {", ".join(sorted(parents))} is only the supercategory of others: no class')
    names = {category['id']: category['name'] for category in content['categories']}
    for category, entry in zip(content['categories'], categories, strict=True):
        if category['name'] not in [*found.classes, *parents]:
            found.classes.append(category['name'])
            found.categories[category['name']] = entry
    pictures: dict[Any, Picture] = {}
    for image, entry, picture in zip(content['images'], images, paths, strict=True):
        pictures[image['id']] = Picture(picture, image['height'], image['width'], [], split_of(path, tree.root),
                                        image['id'], _rest(entry, 'images'))
    for annotation, entry in zip(content['annotations'], annotations, strict=True):
        notes = _rest(entry, 'annotations')
        area = annotation['area'] if entry.get('area') is not None else None
        mask = annotation.get('segmentation') if entry.get('segmentation') else None
        pictures[annotation['image_id']].objects.append(Object(
            names[annotation['category_id']], tuple(annotation['bbox']), mask, area, bool(annotation['iscrowd']),
            entry.get('id'), notes))
    found.pictures += pictures.values()


def _parents(categories: list[dict], annotations: list[dict]) -> set[str]:
    """Names of categories without objects that are the others' supercategory, as Roboflow's first is."""
    used = {annotation['category_id'] for annotation in annotations}
    above = {category.get('supercategory') for category in categories}
    return {category['name'] for category in categories if category['id'] not in used and category['name'] in above
            and category.get('supercategory') != category['name']}


def _encoded(entries: list) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(entry)) for entry in entries]


def _rest(entry: dict, kind: str) -> dict:
    return {key: value for key, value in entry.items() if key not in OWN[kind]}


def _box(segmentation: Any) -> list[float] | None:
    try:
        if isinstance(segmentation, dict):
            rle = segmentation if isinstance(segmentation['counts'], str) else mask_api.frPyObjects(
                segmentation, *segmentation['size'])
            return mask_api.toBbox(rle).tolist()
        polygons = unusual_segmentation(segmentation)
        return list(box_of(polygons)) if isinstance(polygons, list) else None
    except (KeyError, TypeError, ValueError, IndexError):
        return None  # what is wrong is named where it is read


def _ids(ids: list[Any]) -> list[Any]:
    """The source's own where each thing has one, else numbers from 1 on."""
    if all(isinstance(value, (int, str)) for value in ids) and max(Counter(ids).values(), default=1) == 1:
        return ids
    return list(range(1, len(ids) + 1))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
