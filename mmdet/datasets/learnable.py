"""Which annotated objects a detector cannot learn from."""
import logging

import numpy as np
from mmengine.logging import print_log

from mmdet.errors import UserError

from .annotations import AnnotationTable
from .annotations.table import POLYGONS

NORMALIZED = 'with boxes within 0..1 (are they normalized? COCO boxes are in pixels)'


def learnable_objects(table: AnnotationTable, labels: np.ndarray, source: str | None) -> np.ndarray:
    """The objects that mmdetection's rules leave, (N,) bool. The log counts the others by reason.

    Args:
        labels: (C,) label of each category of the table, -1 for those that are left out.
        source: the file, to be named in the log; None for nothing in the log.

    Raises:
        ValueError: there is a `source`, and of its objects none is left but for crowds, which are never learned.
    """
    kept, counts = np.ones(table.num_objects, bool), {}
    for reason, applies in _reasons(table, labels).items():
        counts[reason] = int(np.count_nonzero(kept & applies))
        kept &= ~applies
    told = ', '.join(f'{count} {reason}' for reason, count in counts.items() if count)
    if source and table.num_objects and not (kept & ~table.crowd).any():
        crowds = f'; the other {np.count_nonzero(kept)} are crowds' if kept.any() else ''
        raise UserError(f'{source}: nothing is left to learn. Of {table.num_objects} objects are left out: '
                        f'{told or "none"}{crowds}')
    if source and not table.num_objects:
        print_log(f'{source} has no objects: all of its images are background', 'current', logging.WARNING)
    if source and told:
        print_log(f'{source}: {np.count_nonzero(~kept)} of {table.num_objects} objects are left out: {told}', 'current',
                  logging.WARNING if counts[NORMALIZED] else logging.INFO)
    flat = (table.mask_kind == POLYGONS) & (np.diff(table.polygons_at) == 0) & kept
    if source and flat.any():
        print_log(f'{source}: {np.count_nonzero(flat)} objects have no polygon of 3 points or more inside the image; '
                  'they are ignored where masks are learned', 'current', logging.WARNING)
    return kept


def _reasons(table: AnnotationTable, labels: np.ndarray) -> dict[str, np.ndarray]:
    """For each reason the objects that it takes, (N,) bool; an object counts for the first."""
    x, y, width, height = table.boxes.T
    image_height, image_width = table.sizes[table.image].T
    small = (width < 1) | (height < 1)
    return {
        'of other classes': (labels < 0)[table.category],
        'marked "ignore"': table.ignored,
        NORMALIZED: small & (width > 0) & (height > 0) & (x >= 0) & (y >= 0) & (x + width <= 1) & (y + height <= 1),
        'outside of the image': (x >= image_width) | (y >= image_height) | (x + width <= 0) | (y + height <= 0),
        'with boxes less than a pixel wide or high': small,
        'of area 0': table.areas <= 0}
