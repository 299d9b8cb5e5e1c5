"""Figures of detections beyond AP: thresholds, confusions, kinds of errors, calibration, pictures.

Shapes: G objects, D detections, K classes.
"""
from typing import NamedTuple

import numpy as np

from .evaluated import Evaluated
from .matching import BACKGROUND, FOREGROUND, Matches, match, of_images, overlaps

ERRORS = ('classification', 'localization', 'both', 'duplicate', 'background', 'missed')


class Thresholds(NamedTuple):
    """Precision, recall and F1 of what scores at least `score`, over all classes together."""
    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> int:
        """Place of the threshold with the best F1."""
        return int(self.f1.argmax())


def thresholds(evaluated: Evaluated, matches: Matches, label: int | None = None) -> Thresholds:
    """At 101 scores from 0 to 1; of one class where it is named."""
    counts = ~matches.ignored if label is None else ~matches.ignored & (evaluated.label == label)
    real = ~evaluated.gt_crowd if label is None else ~evaluated.gt_crowd & (evaluated.gt_label == label)
    scores = np.linspace(0, 1, 101)
    right = np.sort(evaluated.score[counts & (matches.found >= 0)])
    every = np.sort(evaluated.score[counts])
    hits, given = (len(values) - np.searchsorted(values, scores - 1e-7) for values in (right, every))
    precision = np.where(given > 0, hits / np.maximum(given, 1), 1.)
    recall = hits / max(real.sum(), 1)
    return Thresholds(scores, precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12))


def confusion(evaluated: Evaluated, score_thr: float = 0.3, iou_thr: float = FOREGROUND,
              crowds: bool = False) -> np.ndarray:
    """(K + 1, K + 1) counts, true class by predicted class; the last row is background, the last column missed.

    As mmdetection's confusion_matrix.py counts: a detection counts for every object that it covers. There crowds are
    objects, too (`crowds`).
    """
    e, k = evaluated, len(evaluated.classes)
    table = np.zeros((k + 1, k + 1), np.int64)
    chosen = np.flatnonzero(e.score >= score_thr)
    real = np.flatnonzero(~e.gt_crowd | crowds)
    for rows, objects in zip(of_images(e.image[chosen], len(e.paths)), of_images(e.gt_image[real], len(e.paths)),
                             strict=True):
        rows, objects = chosen[rows], real[objects]
        covers = overlaps(e.box[rows], e.gt_box[objects]) >= iou_thr
        detection, thing = np.nonzero(covers)
        np.add.at(table, (e.gt_label[objects[thing]], e.label[rows[detection]]), 1)
        np.add.at(table, (k, e.label[rows[~covers.any(axis=1)]]), 1)
        right = covers & (e.label[rows, None] == e.gt_label[objects])
        np.add.at(table, (e.gt_label[objects[~right.any(axis=0)]], k), 1)
    return table


class Errors(NamedTuple):
    """Of each of ERRORS: how many there are, and by how much AP50 would rise if there were none."""
    counts: dict[str, int]
    gains: dict[str, float]
    ap50: float


def errors(evaluated: Evaluated, matches: Matches) -> Errors:
    """The kinds of errors at IoU 0.5.

    Source: TIDE (arXiv 2008.08115) section 2.2: a detection is right; of the right class at a poor place; at the right
    place of the wrong class; both; a second one of an object; or of nothing. An object that no detection of the first
    two kinds of error stands for is missed.
    """
    e, m = evaluated, matches
    right = m.found >= 0
    wrong = ~right & ~m.ignored
    kinds: dict[str, np.ndarray] = {}
    kinds['localization'] = wrong & (m.same_iou >= BACKGROUND) & (m.same_iou < FOREGROUND)
    left = wrong & ~kinds['localization']
    kinds['classification'] = left & (m.other_iou >= FOREGROUND)
    left &= ~kinds['classification']
    kinds['duplicate'] = left & (m.same_iou >= FOREGROUND)
    left &= ~kinds['duplicate']
    kinds['background'] = left & (np.maximum(m.same_iou, m.other_iou) < BACKGROUND)
    kinds['both'] = left & ~kinds['background']

    unfound = ~e.gt_crowd
    unfound[m.found[right]] = False
    missed = unfound.copy()
    missed[m.same[kinds['localization']]] = False
    missed[m.other[kinds['classification']]] = False
    objects = np.bincount(e.gt_label[~e.gt_crowd], minlength=len(e.classes))
    ap50 = mean_ap(e.label, e.score, right, m.ignored, objects)
    counts = {name: int(kind.sum()) for name, kind in kinds.items()} | dict(missed=int(missed.sum()))
    gains = {}
    for name, kind in kinds.items():
        mended, label, leave_out = right.copy(), e.label, m.ignored | kind
        target = dict(localization=m.same, classification=m.other).get(name)
        if target is not None:  # the best that points to an object nobody found is mended, the others go
            rows = np.flatnonzero(kind & (e.score > -np.inf))
            rows = rows[np.argsort(-e.score[rows], kind='stable')]
            rows = rows[unfound[target[rows]]]
            rows = rows[np.unique(target[rows], return_index=True)[1]]
            mended[rows], leave_out[rows] = True, False
            label = e.label.copy()
            label[rows] = e.gt_label[target[rows]]
        gains[name] = mean_ap(label, e.score, mended, leave_out, objects) - ap50
    fewer = objects - np.bincount(e.gt_label[missed], minlength=len(e.classes))
    gains['missed'] = mean_ap(e.label, e.score, right, m.ignored, fewer) - ap50
    return Errors({name: counts[name] for name in ERRORS}, {name: gains[name] for name in ERRORS}, ap50)


def mean_ap(label: np.ndarray, score: np.ndarray, right: np.ndarray, leave_out: np.ndarray,
            objects: np.ndarray) -> float:
    """AP, the mean of COCO's 101 precisions, averaged over the classes that have objects; `objects` (K,) counts them.

    Args:
        label, score, right, leave_out: (D,) of the detections, whether they are right, and whether they count nowhere.
    """
    order = np.flatnonzero(~leave_out)
    order = order[np.lexsort((-score[order], label[order]))]
    of_class = np.split(right[order], np.bincount(label[order], minlength=len(objects)).cumsum()[:-1])
    values = []
    for k in np.flatnonzero(objects):
        hits = of_class[k].cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(hits / objects[k], np.linspace(0, 1, 101))
        values.append(np.append(best, 0)[places].mean())
    return float(np.mean(values)) if values else 0.


class Calibration(NamedTuple):
    """In 10 equal ranges of the score: its mean, the share of detections that are right, and how many there are."""
    score: np.ndarray
    right: np.ndarray
    number: np.ndarray

    @property
    def error(self) -> float:
        """Mean distance of score and share, weighted by their number (expected calibration error)."""
        return float((np.abs(self.score - self.right) * self.number).sum() / max(self.number.sum(), 1))


def calibration(evaluated: Evaluated, matches: Matches) -> Calibration:
    counts = ~matches.ignored
    score, right = evaluated.score[counts].astype(np.float64), matches.found[counts] >= 0
    place = (score * 10 + 1e-5).astype(int).clip(0, 9)
    count, scores, hits = (np.bincount(place, weights, minlength=10) for weights in (None, score, right))
    return Calibration(scores / np.maximum(count, 1), hits / np.maximum(count, 1), count)


class Picture(NamedTuple):
    """What a detector found in an image at a score."""
    image: int
    right: int
    wrong: int
    missed: int

    @property
    def quality(self) -> float:
        return self.right / max(self.right + self.wrong + self.missed, 1)


def ranked_pictures(evaluated: Evaluated, matches: Matches, score_thr: float) -> list[Picture]:
    """The images with objects or detections, the best first: by quality, then by the number of objects in them."""
    e, size = evaluated, len(evaluated.paths)
    chosen = (e.score >= score_thr) & ~matches.ignored
    found = chosen & (matches.found >= 0)
    right, given, objects = (np.bincount(rows, minlength=size) for rows in (
        e.image[found], e.image[chosen], e.gt_image[~e.gt_crowd]))
    pictures = [Picture(int(i), int(right[i]), int(given[i] - right[i]), int(objects[i] - right[i]))
                for i in np.flatnonzero(given + objects)]
    return sorted(pictures, key=lambda picture: (-picture.quality, -picture.right if picture.right else
                                                 picture.wrong + picture.missed))


def image_ap(evaluated: Evaluated) -> np.ndarray:
    """(I,) AP of each image alone: the mean at IoU 0.5, 0.55, ..., 0.95 over the classes that have objects in it."""
    e, size = evaluated, len(evaluated.paths)
    rows_of = of_images(e.image, size)
    objects = np.zeros((size, len(e.classes)), np.int64)
    np.add.at(objects, (e.gt_image[~e.gt_crowd], e.gt_label[~e.gt_crowd]), 1)
    values = np.zeros((10, size))
    for i, iou_thr in enumerate(np.linspace(0.5, 0.95, 10)):
        matches = match(e, iou_thr)
        values[i] = [mean_ap(e.label[rows], e.score[rows], matches.found[rows] >= 0, matches.ignored[rows], counts)
                     for rows, counts in zip(rows_of, objects, strict=True)]
    return values.mean(axis=0)
