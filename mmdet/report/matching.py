"""Which detection stands for which object, at one IoU, as COCO matches them.

Shapes: G objects, D detections.
"""
from typing import NamedTuple

import numpy as np

from .evaluated import Evaluated

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU from which a box is right, and below which it shows nothing


class Matches(NamedTuple):
    """Overlaps of a detection are those with objects of its image that are no crowds; -1 where there is none."""
    found: np.ndarray       # (D,) int64, the object it stands for, or -1
    ignored: np.ndarray     # (D,) bool, whether it lies in a crowd of its class, and so counts nowhere
    same: np.ndarray        # (D,) int64, the object of its class that it overlaps most
    same_iou: np.ndarray    # (D,) float32
    other: np.ndarray       # (D,) int64, the object of another class that it overlaps most
    other_iou: np.ndarray   # (D,) float32


def match(evaluated: Evaluated, iou_thr: float = FOREGROUND) -> Matches:
    """Each detection, the best first, takes the object of its class that it overlaps most and nobody has."""
    e = evaluated
    size = len(e.score)
    matches = Matches(*(np.full(size, value, dtype) for value, dtype in (
        (-1, np.int64), (False, bool), (-1, np.int64), (-1, np.float32), (-1, np.int64), (-1, np.float32))))
    order = np.argsort(-e.score, kind='stable')
    rows_of, objects_of = of_images(e.image[order], len(e.paths)), of_images(e.gt_image, len(e.paths))
    for rows, objects in zip(rows_of, objects_of, strict=True):
        if len(rows) and len(objects):
            _match_image(e, matches, order[rows], objects, iou_thr)
    return matches


def of_images(image: np.ndarray, num_images: int) -> list[np.ndarray]:
    """The rows of each image, in their order; `image` (N,) tells the image of each row."""
    return np.split(np.argsort(image, kind='stable'), np.bincount(image, minlength=num_images).cumsum()[:-1])


def _match_image(e: Evaluated, matches: Matches, rows: np.ndarray, all_objects: np.ndarray, iou_thr: float) -> None:
    crowds = all_objects[e.gt_crowd[all_objects]]
    objects = all_objects[~e.gt_crowd[all_objects]]
    if len(objects):
        ious = overlaps(e.box[rows], e.gt_box[objects])
        is_same = e.label[rows, None] == e.gt_label[objects]
        for best, best_iou, fits in ((matches.same, matches.same_iou, is_same),
                                     (matches.other, matches.other_iou, ~is_same)):
            of_kind = np.where(fits, ious, -1)
            place = of_kind.argmax(axis=1)
            best_iou[rows] = of_kind[np.arange(len(rows)), place]
            best[rows] = np.where(best_iou[rows] >= 0, objects[place], -1)
        free = np.where(is_same & (ious >= iou_thr), ious, -1)
        for k in np.flatnonzero((free >= 0).any(axis=1)):
            place = free[k].argmax()
            if free[k, place] >= 0:
                matches.found[rows[k]] = objects[place]
                free[:, place] = -1
    if len(crowds):
        inside = overlaps(e.box[rows], e.gt_box[crowds], of_first=True) >= iou_thr
        inside &= e.label[rows, None] == e.gt_label[crowds]
        matches.ignored[rows] = inside.any(axis=1) & (matches.found[rows] < 0)


def overlaps(first: np.ndarray, second: np.ndarray, of_first: bool = False) -> np.ndarray:
    """IoU of boxes (N, 4) and (M, 4), or the intersection as a share of the first: (N, M)."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(0).prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (a, b)]
    return common / np.maximum(areas[0] if of_first else areas[0] + areas[1] - common, 1e-12)
