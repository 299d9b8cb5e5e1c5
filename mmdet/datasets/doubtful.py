"""What an annotation file may say, and yet is most likely a mistake of the program that wrote it."""
import logging
from collections import Counter
from itertools import pairwise

import numpy as np
from mmengine.logging import print_log

from .annotations import AnnotationTable
from .annotations.table import POLYGONS

SAMPLE = 1000  # objects whose polygons are looked at
BEYOND = 2     # pixels that a box may reach beyond its image


def tell_doubts(table: AnnotationTable, source: str) -> None:
    """Warn of corners in place of sizes, of normalized polygons, and of pictures with two entries, in file `source`."""
    for doubt in (_corners(table), _normalized(table), _twice(table)):
        if doubt:
            print_log(f'{source}: {doubt}', 'current', logging.WARNING)


def _corners(table: AnnotationTable) -> str:
    start, size = table.boxes[:, :2], table.boxes[:, 2:]
    if not (size > start).all():
        return ''
    beyond = (start + size > table.sizes[table.image][:, ::-1] + BEYOND).any(axis=1)
    if 10 * np.count_nonzero(beyond) < max(len(beyond), 1):
        return ''
    return (f'{np.count_nonzero(beyond)} of {len(beyond)} boxes reach beyond their image, and each could be corners '
            'x1, y1, x2, y2. COCO boxes are x, y, width, height: write x2 - x1 and y2 - y1')


def _normalized(table: AnnotationTable) -> str:
    objects = np.flatnonzero((table.mask_kind == POLYGONS) & (np.diff(table.polygons_at) > 0))[:SAMPLE]
    objects = objects[(table.boxes[objects, 2:] > 1 + BEYOND).all(axis=1)]
    starts, ends = (table.numbers_at[table.polygons_at[place]].tolist() for place in (objects, objects + 1))
    polygons = [table.numbers[start:end] for start, end in zip(starts, ends, strict=True)]
    if not polygons or not all(polygon.min() >= 0 and polygon.max() <= 1 for polygon in polygons):
        return ''
    return 'its polygons lie within 0..1, its boxes do not (are they normalized? COCO polygons are in pixels)'


def _twice(table: AnnotationTable) -> str:
    text, at = table.file_names.tobytes(), table.file_names_at.tolist()
    names = [text[start:end] for start, end in pairwise(at)]
    if len(set(names)) == len(names):
        return ''
    twice = [name.decode() for name, number in Counter(names).items() if number > 1]
    return (f'{len(twice)} file names are those of several images, first: {twice[0]}. The objects of one are '
            'background to the other: make them one image')
