"""Reading a COCO-format annotation file, with every mistake in it named."""
import json
import math
from collections import Counter
from typing import Any

from mmengine import fileio

from mmdet.errors import MissingFileError, UserError


def read_coco_json(path: str, backend_args: dict | None = None, test_mode: bool = False) -> dict:
    """Read a COCO annotation file and check it.

    Args:
        path: file or URL that mmengine.fileio reads with `backend_args`.
        test_mode: whether the key 'annotations' may be missing, as in COCO's test-dev.

    Returns:
        dict with the lists images (id, file_name, height, width), categories (id, name) and annotations (id,
        image_id, category_id, bbox xywh in pixels; area and iscrowd filled in where they were missing).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no COCO JSON, or an annotation or image that contradicts itself; names the id and the file.
    """
    data = _load(path, backend_args)
    if test_mode and isinstance(data, dict):
        data.setdefault('annotations', [])
    missing = [key for key in ('images', 'annotations', 'categories') if not isinstance(data, dict) or key not in data]
    if missing:
        raise UserError(f'annotation file {path} is no COCO instances file: it has no list {missing}')
    images = {image['id']: image for image in data['images']}
    category_ids = {category['id'] for category in data['categories']}
    for key in ('images', 'annotations', 'categories'):
        _check_unique(data[key], key, path)
    for image in data['images']:
        lacking = [key for key in ('file_name', 'height', 'width') if key not in image]
        if lacking:
            raise UserError(f'image id {image["id"]} in {path} has no {lacking}: add them')
    for ann in data['annotations']:
        _check_annotation(ann, images, category_ids, path)
        ann.setdefault('iscrowd', 0)
        ann.setdefault('area', ann['bbox'][2] * ann['bbox'][3])
    return data


def _load(path: str, backend_args: dict | None) -> Any:
    try:
        text = fileio.get_text(path, backend_args=backend_args)
    except FileNotFoundError:
        raise MissingFileError(f'annotation file {path} does not exist. Set ann_file, and data_root if ann_file is '
                                'relative, to where your COCO-format annotations are.') from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f'annotation file {path} is broken or cut short ({error}): '
                         'download or write it again') from None


def _check_unique(items: list[dict], key: str, path: str) -> None:
    repeated = [i for i, count in Counter(item['id'] for item in items).items() if count > 1]
    if repeated:
        raise UserError(f'{path} uses the same id for several {key}, first: {repeated[0]}. Give each its own.')


def _check_annotation(ann: dict, images: dict[int, dict], category_ids: set[int], path: str) -> None:
    where = f'annotation id {ann["id"]} in {path}'
    if ann['image_id'] not in images:
        raise UserError(f'{where} belongs to image id {ann["image_id"]}, which "images" does not list: '
                         'add the image or remove the annotation')
    where += f' (image {images[ann["image_id"]]["file_name"]})'
    if ann['category_id'] not in category_ids:
        raise UserError(f'{where} has category_id {ann["category_id"]}, which "categories" does not list '
                         f'(it lists {sorted(category_ids)}): add the category or remove the annotation')
    box = ann.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not all(math.isfinite(number) for number in box):
        raise UserError(f'{where} has bbox {box}: it must be 4 finite numbers x, y, width, height')
    if box[2] < 0 or box[3] < 0:
        raise UserError(f'{where} has bbox {box} of negative {"width" if box[2] < 0 else "height"}: COCO boxes are '
                         'x, y, width, height; correct or remove it')
