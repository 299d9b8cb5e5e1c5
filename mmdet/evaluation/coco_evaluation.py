"""COCO's evaluation by faster-coco-eval, or by pycocotools where that is not installed. Both give the same figures."""
import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet.datasets.classes import one_id_a_name
from mmdet.errors import UserError

EVALUATORS = {'pycocotools': (COCO, COCOeval)}  # the preferred one first
try:
    from faster_coco_eval import COCO as FasterCOCO
    from faster_coco_eval import COCOeval_faster
    EVALUATORS = {'faster-coco-eval': (FasterCOCO, COCOeval_faster), **EVALUATORS}
except ImportError:
    pass

KNOWN = ('neg_category_ids', 'not_exhaustive_category_ids')  # what LVIS tells of an image
AREAS = ('', '_s', '_m', '_l')  # all sizes, then the three of COCOeval.params.areaRngLbl


class GroundTruth(NamedTuple):
    """The evaluator's COCO object. In it images and categories have ids from 1, which stand here by those of the file.

    Categories of one name have one id.
    """
    coco: COCO
    image_ids: dict[Any, int]
    category_ids: dict[Any, int]


def coco_index(dataset: dict, evaluator: str = 'auto', source: str = 'the ground truth') -> GroundTruth:
    """Index a dict of images, annotations and categories that comes from the file `source`.

    `evaluator` is 'faster-coco-eval', 'pycocotools', or 'auto' for the first of them that is installed. Annotations
    get new ids from 1, too, because the evaluator takes the id 0 for "not matched".
    """
    name = next(iter(EVALUATORS)) if evaluator == 'auto' else evaluator
    if name not in EVALUATORS:
        raise UserError(f'evaluator {name!r} is not among the installed ones, {list(EVALUATORS)}: pip install {name}')
    image_ids = {image['id']: i for i, image in enumerate(dataset['images'], 1)}
    first_of_name = one_id_a_name(dataset['categories'], source)
    numbers = {first: i for i, first in enumerate(dict.fromkeys(first_of_name.values()), 1)}
    category_ids = {category: numbers[first] for category, first in first_of_name.items()}
    images = []
    for image in dataset['images']:
        known = {key: [category_ids[i] for i in image[key] if i in category_ids] for key in KNOWN if key in image}
        images.append({**image, **known, 'id': image_ids[image['id']]})
    categories = [dict(category, id=category_ids[category['id']]) for category in dataset['categories']]
    annotations = _renumbered(dataset['annotations'], image_ids, category_ids)
    return GroundTruth(_index(EVALUATORS[name][0], images, categories, annotations), image_ids, category_ids)


def _renumbered(entries: Sequence[dict], image_ids: dict[Any, int], category_ids: dict[Any, int]) -> list[dict]:
    return [dict(entry, id=i, image_id=image_ids[entry['image_id']], category_id=category_ids[entry['category_id']])
            for i, entry in enumerate(entries, 1)]


def _index(cls: type[COCO], images: list[dict], categories: list[dict], annotations: list[dict]) -> COCO:
    coco = cls()
    coco.dataset = dict(images=images, categories=categories, annotations=annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def evaluate_coco(truth: GroundTruth, results: Sequence[dict], iou_type: str, lvis_style: bool = False,
                  **params: Any) -> COCOeval:
    """Match detections with the ground truth and accumulate precision and recall.

    Args:
        truth: from coco_index.
        results: dicts with image_id, category_id, score, and bbox (xywh) or segmentation (RLE); may be empty. They are
            checked (checked_results): C code reads them.
        iou_type: 'bbox' or 'segm'.
        lvis_style: whether a category counts in those images alone for which it is known; needs faster-coco-eval.
        params: attributes of COCOeval.params to set, such as maxDets; ids are those of `truth.coco`.
    """
    if iou_type == 'segm':
        without = [ann['id'] for ann in truth.coco.dataset['annotations'] if 'segmentation' not in ann]
        if without:
            raise UserError(f'{len(without)} annotations of the ground truth have no segmentation: '
                            "evaluate boxes only, metric='bbox'")
    if iou_type == 'segm' and not lvis_style:
        # One by one: pycocotools 2.0.11 cannot take the areas of more than 255 masks at once under NumPy 2.
        areas = [mask_api.area(result['segmentation']) for result in results]
    else:  # the package lvis takes the box's also for a mask that comes with its box
        areas = [result['bbox'][2] * result['bbox'][3] for result in results]
    detections = _renumbered(results, truth.image_ids, truth.category_ids)
    for detection, area in zip(detections, areas, strict=True):
        detection.update(area=float(area), iscrowd=0)
    coco = truth.coco
    with contextlib.redirect_stdout(io.StringIO()):
        index = _index(type(coco), coco.dataset['images'], coco.dataset['categories'], detections)
        evaluation = dict(EVALUATORS.values())[type(coco)](
            coco, index, iou_type, **(dict(lvis_style=True) if lvis_style else {}))
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def average_precision(evaluation: COCOeval, iou: float | None = None, area: str = '', max_dets: int | None = None,
                      category_ids: int | Sequence[int] | None = None) -> float:
    """Mean of the precisions chosen: of one IoU, one of AREAS, one limit of detections (else the largest), classes.

    `category_ids` are those of GroundTruth.coco. -1 where there is no such ground truth, as in pycocotools.
    """
    params = evaluation.params
    precision = evaluation.eval['precision'][..., AREAS.index(area), _index_of_limit(params, max_dets)]
    if iou is not None:
        precision = precision[np.isclose(params.iouThrs, iou)]
    if category_ids is not None:
        precision = precision[:, :, np.isin(params.catIds, category_ids)]
    return _mean(precision)


def average_recall(evaluation: COCOeval, area: str = '', max_dets: int | None = None) -> float:
    """Mean over IoUs and classes of the recall with at most max_dets detections an image (else the largest limit)."""
    return _mean(evaluation.eval['recall'][..., AREAS.index(area), _index_of_limit(evaluation.params, max_dets)])


def _index_of_limit(params: Any, max_dets: int | None) -> int:
    return -1 if max_dets is None else list(params.maxDets).index(max_dets)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.
