"""Where precision is lost, by COCO's analysis of errors: each step forgives one more kind.

Source: cocodataset.org, detection evaluation, part 4; figures as mmdetection's coco_error_analysis.py gives them.
"""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .coco_evaluation import GroundTruth, coco_index, evaluate_coco

STEPS = ('C75', 'C50', 'Loc', 'Sim', 'Oth', 'BG', 'FN')
LIMITS = (1024, 9216, 10_000_000_000)  # pixels of the mask: up to small, medium, large


class _Category(msgspec.Struct):
    id: int | float | str
    supercategory: str | None = None


class _File(msgspec.Struct):
    """What a COCO file has of categories beyond names."""
    categories: list[_Category]


def with_supercategories(annotations: dict, path: str) -> dict:
    """The dict that read_coco_json gave for a file, its categories with their supercategory where they have one."""
    file = msgspec.json.decode(Path(path).read_bytes().removeprefix(b'\xef\xbb\xbf'), type=_File)
    names = {category.id: category.supercategory for category in file.categories if category.supercategory is not None}
    return dict(annotations, categories=[dict(c, supercategory=names[c['id']]) if c['id'] in names else c
                                         for c in annotations['categories']])


def error_precisions(annotations: dict, detections: Sequence[dict], iou_type: str, limits: Sequence[float] = LIMITS,
                     evaluator: str = 'auto') -> np.ndarray:
    """Precision after each of STEPS: (7, 101 recalls, K categories, 4 sizes: all, small, medium, large).

    At IoU 0.75 and 0.5; at 0.1 (Loc); without what is taken for a category of the same supercategory (Sim), for any
    other (Oth); without detections of nothing (BG); and 1 (FN). 0 where a category has no objects.
    """
    small, medium, large = limits
    options: dict[str, Any] = dict(maxDets=[100], areaRng=[[0, large], [0, small], [small, medium], [medium, large]])
    truth = coco_index(annotations, evaluator)
    numbers = list(dict.fromkeys(truth.category_ids.values()))
    plain = evaluate_coco(truth, detections, iou_type, catIds=numbers, iouThrs=[.75, .5, .1], **options)
    precisions = np.zeros((len(STEPS), *plain.eval['precision'].shape[1:4]))
    precisions[:3] = plain.eval['precision'][..., 0]
    family = {truth.category_ids[c['id']]: c.get('supercategory', c['id']) for c in annotations['categories']}
    for k, number in enumerate(numbers):
        own = [d for d in detections if truth.category_ids[d['category_id']] == number]
        similar = {other for other in numbers if family[other] == family[number]}
        for step, forgiven in ((3, similar), (4, set(numbers))):
            evaluation = evaluate_coco(_forgiving(annotations, truth, number, forgiven, evaluator), own, iou_type,
                                       catIds=[number], iouThrs=[.1], **options)
            precisions[step, :, k] = evaluation.eval['precision'][0, :, 0, :, 0]
    precisions = np.maximum(precisions, 0)  # -1 where there are no objects
    precisions[5] = precisions[4] > 0
    precisions[6] = 1
    return precisions


def _forgiving(annotations: dict, truth: GroundTruth, number: int, forgiven: set[int], evaluator: str) -> GroundTruth:
    """The ground truth of one category, whose detections count nowhere on objects of the others in `forgiven`."""
    ids = truth.category_ids
    category = next(i for i, other in ids.items() if other == number)
    changed = [ann if ids[ann['category_id']] == number else dict(ann, category_id=category, iscrowd=1, ignore=1)
               for ann in annotations['annotations'] if ids[ann['category_id']] in forgiven | {number}]
    return coco_index(dict(annotations, annotations=changed), evaluator)
