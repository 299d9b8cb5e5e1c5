"""LVISMetric: AP of LVIS, whose pictures are annotated for some of the classes only."""
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pycocotools.cocoeval import COCOeval

from mmdet.datasets.annotations.json_file import read_entries
from mmdet.errors import UserError
from mmdet.registry import METRICS

from .coco_evaluation import EVALUATORS, GroundTruth, evaluate_coco
from .coco_metric import CocoMetric

MAX_DETS = 300  # of an image, whatever their classes
FREQUENCIES = dict(APr='r', APc='c', APf='f')  # rare, common and frequent classes


class _Image(msgspec.Struct):
    """What an image of LVIS has beyond COCO's."""
    neg_category_ids: list
    not_exhaustive_category_ids: list


class _Category(msgspec.Struct):
    frequency: Literal['r', 'c', 'f']


@METRICS.register_module()
class LVISMetric(CocoMetric):
    """AP of LVIS: lvis/bbox_AP, bbox_AP50, AP75, APs, APm, APl, and APr, APc, APf of rare, common and frequent classes.

    A detection counts only in an image for which its class is known: one with such an object, or whose
    neg_category_ids name the class. It is no error where not_exhaustive_category_ids name the class. The 300
    detections of an image with the highest scores count.

    Arguments are CocoMetric's; ann_file must be a file of LVIS, and metric='proposal' is COCO's.

    Raises:
        ValueError: as CocoMetric; also without ann_file, for a file that is not LVIS's, and without faster-coco-eval.

    Source: arXiv 1908.03195, section 2.2, and the figures of the package lvis.
    """
    default_prefix = 'lvis'
    ITEMS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', *FREQUENCIES)

    def __init__(self, ann_file: str | None = None, *args: Any, backend_args: dict | None = None, **kwargs: Any):
        super().__init__(ann_file, *args, backend_args=backend_args, **kwargs)  # type: ignore[misc]
        if 'faster-coco-eval' not in EVALUATORS:
            raise UserError("LVISMetric needs faster-coco-eval: pip install 'mmdet-norms[coco]'")
        if self.annotations is None:
            raise UserError('LVISMetric needs ann_file, a file of LVIS: it says which classes are known of an image')
        if self.format_only:  # a test set does not tell
            return
        entries = read_entries(str(ann_file), backend_args)
        try:
            for kind, name, raws in ((_Image, 'images', entries.images), (_Category, 'categories', entries.categories)):
                decode = msgspec.json.Decoder(kind).decode
                for entry, raw in zip(self.annotations[name], raws, strict=True):
                    entry.update(msgspec.structs.asdict(decode(raw)))
        except msgspec.ValidationError as error:
            raise UserError(f'annotation file {ann_file} is not of LVIS ({error} in {name}): use CocoMetric') from None

    def _evaluate(self, truth: GroundTruth, detections: list[dict], metric: str, **params: Any) -> COCOeval:
        if metric == 'proposal':
            return super()._evaluate(truth, detections, metric, **params)
        of_image = defaultdict(list)
        for detection in sorted(detections, key=lambda d: -d['score']):
            of_image[detection['image_id']].append(detection)
        counted = [detection for each in of_image.values() for detection in each[:MAX_DETS]]
        return evaluate_coco(truth, counted, 'segm' if metric == 'segm' else 'bbox', lvis_style=True,
                             maxDets=[MAX_DETS], **params)

    def _figure(self, evaluation: COCOeval, item: str, category_ids: int | Sequence[int] | None = None) -> float:
        if item in FREQUENCIES:
            category_ids = [i for i, category in evaluation.cocoGt.cats.items()
                            if category['frequency'] == FREQUENCIES[item]]
        return super()._figure(evaluation, item, category_ids)
