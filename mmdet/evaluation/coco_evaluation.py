"""COCO's evaluation by faster-coco-eval, or by pycocotools where that is not installed. Both give the same figures."""
import contextlib
import io
import json
from typing import Any

import numpy as np
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet.errors import MissingFileError, UserError

EVALUATORS = {'pycocotools': (COCO, COCOeval)}  # the preferred one first
try:
    from faster_coco_eval import COCO as FasterCOCO
    from faster_coco_eval import COCOeval_faster
    EVALUATORS = {'faster-coco-eval': (FasterCOCO, COCOeval_faster), **EVALUATORS}
except ImportError:
    pass

AREAS = ('', '_s', '_m', '_l')  # all sizes, then the three of COCOeval.params.areaRngLbl


def coco_index(dataset: dict, evaluator: str = 'auto') -> COCO:
    """The evaluator's COCO object for a dict of images, annotations and categories.

    `evaluator` is 'faster-coco-eval', 'pycocotools', or 'auto' for the first of them that is installed. Annotations
    get new ids from 1, because the evaluator takes the id 0 for "not matched".
    """
    name = next(iter(EVALUATORS)) if evaluator == 'auto' else evaluator
    if name not in EVALUATORS:
        raise UserError(f'evaluator {name!r} is not among the installed ones, {list(EVALUATORS)}: pip install {name}')
    return _index(EVALUATORS[name][0], dataset)


def _index(cls: type[COCO], dataset: dict) -> COCO:
    coco = cls()
    coco.dataset = dict(dataset, annotations=[dict(ann, id=i) for i, ann in enumerate(dataset['annotations'], 1)])
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def read_results(path: str) -> list[dict]:
    """The detections of a COCO result file. Checks that every entry has its keys.

    Raises FileNotFoundError or ValueError that names the file and the entry.
    """
    try:
        with open(path) as file:
            text = file.read()
        results = json.loads(text)
    except FileNotFoundError:
        raise MissingFileError(f'result file {path} does not exist') from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f'result file {path} is empty, broken or cut short ({error}): write it again') from None
    if not isinstance(results, list):
        raise UserError(f'result file {path} holds a {type(results).__name__}; it must be a list of detections')
    if not results:
        raise UserError(f'result file {path} holds no detections, so its AP is 0: was the score threshold too high?')
    types = iou_types(results[:1])
    needed = {'image_id', 'category_id', 'score', *(_KEYS[iou_type] for iou_type in types or ('bbox',))}
    for i, result in enumerate(results):
        lacking = needed - set(result) if isinstance(result, dict) else needed
        if lacking:
            raise UserError(f'entry {i} of {path} lacks {sorted(lacking)}')
        if 'bbox' in types and not (isinstance(result['bbox'], list) and len(result['bbox']) == 4):
            raise UserError(f'entry {i} of {path} has bbox {result["bbox"]}: it must be x, y, width, height')
        if 'segm' in types and not (isinstance(result['segmentation'], dict)
                                    and {'size', 'counts'} <= set(result['segmentation'])):
            raise UserError(f'entry {i} of {path}: segmentation must be an RLE, a dict of size and counts')
    return results


_KEYS = dict(bbox='bbox', segm='segmentation')


def iou_types(results: list[dict]) -> list[str]:
    """'bbox' and 'segm', as far as the detections have boxes and masks."""
    return [iou_type for iou_type, key in _KEYS.items() if results and key in results[0]]


def check_results(results: list[dict], dataset: dict, source: str, ann_file: str) -> None:
    """Raise ValueError when detections name an image or a category that the annotations do not have."""
    for key, items in (('image_id', 'images'), ('category_id', 'categories')):
        known = {item['id'] for item in dataset[items]}
        unknown = sorted({result[key] for result in results} - known)
        if unknown:
            raise UserError(f'{source} holds {len(unknown)} {key} that {ann_file} does not list, first: '
                             f'{unknown[:5]}. Evaluate with the annotation file the results were made for.')


def evaluate_coco(coco: COCO, results: list[dict], iou_type: str, **params: Any) -> COCOeval:
    """Match detections with the ground truth and accumulate precision and recall.

    Args:
        coco: the ground truth, from coco_index.
        results: dicts with image_id, category_id, score, and bbox (xywh) or segmentation (RLE); may be empty.
        iou_type: 'bbox' or 'segm'.
        params: attributes of COCOeval.params to set, such as maxDets.
    """
    if iou_type == 'segm':
        without = [ann['id'] for ann in coco.dataset['annotations'] if 'segmentation' not in ann]
        if without:
            raise UserError(f'{len(without)} annotations of the ground truth have no segmentation: '
                             "evaluate boxes only, metric='bbox'")
        # One by one: pycocotools 2.0.11 cannot take the areas of more than 255 masks at once under NumPy 2.
        areas = [mask_api.area(result['segmentation']) for result in results]
    else:
        areas = [result['bbox'][2] * result['bbox'][3] for result in results]
    detections = [dict(result, area=float(area), iscrowd=0) for result, area in zip(results, areas, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        index = _index(type(coco), dict(coco.dataset, annotations=detections))
        evaluation = dict(EVALUATORS.values())[type(coco)](coco, index, iou_type)
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def average_precision(evaluation: COCOeval, iou: float | None = None, area: str = '', max_dets: int | None = None,
                      category_id: int | None = None) -> float:
    """Mean of the precisions chosen: of one IoU, one of AREAS, one limit of detections (else the largest), one class.

    -1 where there is no such ground truth, as in pycocotools.
    """
    params = evaluation.params
    precision = evaluation.eval['precision'][..., AREAS.index(area), _index_of_limit(params, max_dets)]
    if iou is not None:
        precision = precision[np.isclose(params.iouThrs, iou)]
    if category_id is not None:
        precision = precision[:, :, list(params.catIds).index(category_id)]
    return _mean(precision)


def average_recall(evaluation: COCOeval, area: str = '', max_dets: int | None = None) -> float:
    """Mean over IoUs and classes of the recall with at most max_dets detections an image (else the largest limit)."""
    return _mean(evaluation.eval['recall'][..., AREAS.index(area), _index_of_limit(evaluation.params, max_dets)])


def _index_of_limit(params: Any, max_dets: int | None) -> int:
    return -1 if max_dets is None else list(params.maxDets).index(max_dets)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.
