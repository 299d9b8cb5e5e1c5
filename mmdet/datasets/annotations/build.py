"""From the entries of a file to a table; an entry that contradicts itself or another is named."""
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec import UNSET, Raw

from mmdet.errors import UserError

from .json_file import Entries
from .objects import ObjectReader
from .schema import Category, EntryReader, Id, Image, shown
from .table import AnnotationTable, offsets, texts
from .values import whole_number

CHUNK = 8192  # annotations whose values are checked at a time


def build_table(entries: Entries, path: str) -> AnnotationTable:
    """The table of the entries of the file `path`."""
    read_category = EntryReader(Category, 'categories', path)
    categories = [read_category(raw, i) for i, raw in enumerate(entries.categories)]
    category_ids = [category.id for category in categories]
    _check_unique(category_ids, 'categories', path)
    image_ids, file_names, sizes = _images(entries.images, path)
    entries.images.clear()  # with the last entry the text of the file is freed
    entries.categories.clear()
    columns = _objects(entries.annotations, ObjectReader(path, image_ids, sizes, category_ids))
    for counted, at in (('rle_lengths', 'rles_at'), ('polygon_lengths', 'numbers_at'),
                        ('polygon_counts', 'polygons_at')):
        columns[at] = offsets(columns.pop(counted))
    named: dict[str, Any] = {}
    for name, values in (('image_ids', map(msgspec.json.encode, image_ids)), ('file_names', file_names),
                         ('category_ids', map(msgspec.json.encode, category_ids)),
                         ('category_names', [category.name for category in categories])):
        named[name], named[f'{name}_at'] = texts(list(values))  # type: ignore[arg-type]
    return AnnotationTable(
        **named, **columns, sizes=sizes, by_image=np.argsort(columns['image'], kind='stable'),
        by_image_at=offsets(np.bincount(columns['image'], minlength=len(sizes))),
        complete=np.array(entries.complete))


def _images(raws: Sequence[Raw], path: str) -> tuple[list[Id], list[str], np.ndarray]:
    """Ids, file names and sizes (I, 2) of the images."""
    read = EntryReader(Image, 'images', path)
    ids, names, sizes = [], [], np.empty((len(raws), 2), np.int64)
    for i, raw in enumerate(raws):
        image = read(raw, i)
        for column, name in enumerate(('height', 'width')):
            value = whole_number(getattr(image, name))
            if value is None:
                raise read.wrong(i, name, raw)
            sizes[i, column] = value
        url = image.coco_url if isinstance(image.coco_url, str) else ''
        name = urlsplit(url).path.lstrip('/') if image.file_name is UNSET else image.file_name
        if image.file_name is UNSET and not url:
            raise read.lacks(i, 'file_name', raw)
        if not name or '\0' in name:
            raise read.wrong(i, 'file_name', raw)
        ids.append(image.id)
        names.append(name)
    _check_unique(ids, 'images', path)
    return ids, names, sizes


def _objects(raws: list[Raw], reader: ObjectReader) -> dict[str, Any]:
    """The columns of all annotations. Empties `raws`."""
    chunks = [reader.read(raws[start:start + CHUNK], start) for start in range(0, max(len(raws), 1), CHUNK)]
    raws.clear()
    reader.raws = []
    numbers = [ids for ids in reader.ids if isinstance(ids, np.ndarray)]
    if len(numbers) < len(reader.ids) or (np.diff(np.sort(np.concatenate(numbers))) == 0).any():
        _check_unique([value for ids in reader.ids for value in (ids.tolist() if isinstance(ids, np.ndarray) else ids)],
                      'annotations', reader.path)
    return {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in tuple(chunks[0])}


def _check_unique(ids: Sequence[Id | None], name: str, path: str) -> None:
    given = [value for value in ids if value is not None]
    if len(set(given)) == len(given):
        return
    first: dict[Id, int] = {}
    for i, value in enumerate(ids):
        if value is not None and first.setdefault(value, i) != i:
            raise UserError(f'{path} uses the same id for several {name}, first: {shown(value)} in '
                            f'{name}[{first[value]}] and {name}[{i}]. Give each its own.')
