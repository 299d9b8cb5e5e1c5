"""CocoMetric: box, mask and proposal AP of COCO."""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump
from mmengine.logging import print_log
from pycocotools import mask as mask_api
from pycocotools.cocoeval import COCOeval
from terminaltables import AsciiTable

from mmdet.datasets import read_coco_json
from mmdet.datasets.classes import one_id_a_name
from mmdet.datasets.garbage_collection import no_garbage_collection
from mmdet.errors import UserError
from mmdet.registry import METRICS
from mmdet.report import Evaluated
from mmdet.structures import to_host
from mmdet.structures.mask import PastedMasks, checked_rles

from .coco_evaluation import AREAS, GroundTruth, average_precision, average_recall, coco_index, evaluate_coco
from .ground_truth import seen_in_file, seen_in_samples
from .recall import fast_recall

_METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """AP and AR of COCO under mmdetection's names: coco/bbox_mAP, coco/bbox_mAP_50, ..., coco/segm_mAP, ...

    Args:
        ann_file: COCO-format ground truth; without it the `instances` in the samples' metainfo are the ground truth.
        metric: 'bbox', 'segm', 'proposal', 'proposal_fast' (AR without classes and sizes) or a list of them.
        classwise: also print a table of the classes, and report {class}_precision (segm_{class}_precision).
        proposal_nums: limits of detections an image; AP is taken at 100 where it is among them.
        iou_thrs: IoU thresholds; by default 0.5, 0.55, ..., 0.95.
        metric_items: figures to report; by default the six APs (for proposals the ARs).
        format_only: only write the result files, no evaluation.
        outfile_prefix: write PREFIX.bbox.json and PREFIX.segm.json, in COCO's result format.
        backend_args: how mmengine.fileio reads ann_file.
        collect_device, prefix: see mmengine's BaseMetric.
        eval_mode: accepted, because mmdetection's config of Pascal VOC in COCO's form inherits it.
    """
    default_prefix = 'coco'
    ITEMS: tuple[str, ...] = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')  # the first one is a class's, too

    def __init__(self, ann_file: str | None = None, metric: str | Sequence[str] = 'bbox', classwise: bool = False,
                 proposal_nums: Sequence[int] = (100, 300, 1000), iou_thrs: float | Sequence[float] | None = None,
                 metric_items: Sequence[str] | None = None, format_only: bool = False,
                 outfile_prefix: str | None = None, backend_args: dict | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None, eval_mode: str | None = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        unknown = [name for name in self.metrics if name not in _METRICS]
        if unknown:
            raise UserError(f'CocoMetric knows metric={_METRICS}, not {unknown}')
        if format_only and outfile_prefix is None:
            raise UserError('CocoMetric(format_only=True) needs outfile_prefix: where the result files go')
        self.classwise, self.format_only, self.outfile_prefix = classwise, format_only, outfile_prefix
        self.proposal_nums = sorted(proposal_nums)
        self.iou_thrs = np.linspace(0.5, 0.95, 10) if iou_thrs is None else np.atleast_1d(iou_thrs)
        recalls = [f'AR@{n}' for n in self.proposal_nums]
        recalls += [f'AR{area}@{self.proposal_nums[-1]}' for area in AREAS[1:]]
        unknown = [item for item in metric_items or () if item not in (*self.ITEMS, *recalls)]
        if unknown:
            raise UserError(f'metric_items of {type(self).__name__} has {unknown}; there are '
                            f'{[*self.ITEMS, *recalls]}')
        self.metric_items = {'bbox': metric_items or self.ITEMS, 'segm': metric_items or self.ITEMS,
                             'proposal': metric_items or recalls}
        self.keep_evaluated = False  # whether `evaluated` is set
        self.evaluated: Evaluated | None = None
        self.ann_file = ann_file
        self.annotations = read_coco_json(ann_file, backend_args, test_mode=format_only) if ann_file else None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch, masks as RLE, and the ground truth where there is no ann_file."""
        for sample in data_samples:
            pred = sample['pred_instances']
            result = {key: sample.get(key) for key in ('img_id', 'img_path', 'ori_shape')}
            names = 'bboxes', 'scores', 'labels'
            result.update(zip(names, map(torch.Tensor.numpy, to_host([pred[name] for name in names])), strict=True))
            if 'masks' in pred:
                foreign = isinstance(pred['masks'], list)
                result['masks'] = _checked(pred['masks'], sample) if foreign else encode_masks(pred['masks'])
            if self.annotations is None:
                if 'instances' not in sample:
                    raise UserError("CocoMetric has no ground truth: give it ann_file, or add 'instances' to "
                                    'meta_keys of PackDetInputs in the test pipeline')
                result['instances'] = sample['instances']
            self.results.append(result)

    @no_garbage_collection()
    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Evaluate the predictions of all processes: figures by name, rounded to 3 digits as mmdetection does."""
        classes = (self.dataset_meta or {}).get('classes')
        if classes is None:
            raise UserError("CocoMetric needs the names of the classes: the data set's metainfo has no 'classes'")
        source = str(self.ann_file or 'the ground truth of the samples')
        seen = (seen_in_samples(results, classes) if self.annotations is None
                else seen_in_file(results, self.annotations, source))
        if len(seen.results) < len(results):
            print_log(f'{len(results) - len(seen.results)} of {len(results)} predictions are of an image that was seen '
                      'before: each image counts once', 'current')
        ids = one_id_a_name(seen.annotations['categories'], source)
        id_of_name = {category['name']: ids[category['id']] for category in seen.annotations['categories']}
        category_ids = [id_of_name.get(name) for name in classes]
        if not any(i is not None for i in category_ids):
            raise UserError(f'none of the classes {classes} of the data set is in {source}, '
                            f'which has {list(id_of_name)}')
        detections = [d for result, image in zip(seen.results, seen.annotations['images'], strict=True)
                      for d in detections_of(result, image, category_ids)]
        self._write(detections, {image['id']: result['img_id'] for result, image in zip(
            seen.results, seen.annotations['images'], strict=True)})
        if self.format_only:
            return {}
        truth = coco_index(seen.annotations, source=source)
        numbers = {name: truth.category_ids[id_of_name[name]] for name in classes if name in id_of_name}
        figures, rows, evaluations = {}, [], {}
        for metric in self.metrics:
            if metric == 'proposal_fast':
                values = fast_recall(seen, self.proposal_nums, self.iou_thrs)
                rows.append((metric, values))
                figures.update(values)
                continue
            if detections and metric == 'segm' and 'segmentation' not in detections[0]:
                raise UserError("CocoMetric(metric='segm') needs masks; the model predicts none: use metric='bbox'")
            evaluation = self._evaluate(truth, detections, metric, catIds=list(numbers.values()),
                                        iouThrs=self.iou_thrs)
            if metric != 'proposal' and len(self.iou_thrs) == 10:
                evaluations[metric] = evaluation
            values = {item: self._figure(evaluation, item) for item in self.metric_items[metric]}
            rows.append((metric, values))
            figures.update({item if metric == 'proposal' else f'{metric}_{item}': value
                            for item, value in values.items()})
            if self.classwise and metric != 'proposal':
                figures.update(self._classwise(evaluation, metric, numbers))
        _log_table('', rows)
        if self.keep_evaluated:
            paths = [str(result['img_path'] or '') for result in seen.results]
            self.evaluated = Evaluated.of(seen.annotations, detections, evaluations, truth.category_ids,
                                          truth.image_ids, paths)
        return figures

    def _evaluate(self, truth: GroundTruth, detections: list[dict], metric: str, **params: Any) -> COCOeval:
        return evaluate_coco(truth, detections, 'segm' if metric == 'segm' else 'bbox', maxDets=self.proposal_nums,
                             useCats=int(metric != 'proposal'), **params)

    def _figure(self, evaluation: COCOeval, item: str, category_ids: int | Sequence[int] | None = None) -> float:
        name, _, number = item.partition('@')
        area = next((a for a in AREAS[1:] if name.endswith(a[-1])), '')
        if name.startswith('AR'):
            return round(average_recall(evaluation, area, int(number)), 3)
        iou = {'50': 0.5, '75': 0.75}.get(name[-2:])
        # pycocotools takes only the first figure at 100 detections, the others at the largest limit.
        limit = 100 if name == 'mAP' and 100 in self.proposal_nums else None
        return round(average_precision(evaluation, iou, area, limit, category_ids), 3)

    def _classwise(self, evaluation: COCOeval, metric: str, numbers: dict[str, int]) -> dict[str, float]:
        """A table of the classes; the figures of each class that go into the log."""
        rows = [(name, {item: self._figure(evaluation, item, number) for item in self.ITEMS[:6]})
                for name, number in numbers.items()]
        _log_table(f'{metric} of each class', rows)
        prefix = '' if metric == 'bbox' else f'{metric}_'
        return {f'{prefix}{name}_precision': values[self.ITEMS[0]] for name, values in rows}

    def _write(self, detections: list[dict], img_ids: dict) -> None:
        if self.outfile_prefix is None:
            return
        detections = [dict(d, image_id=img_ids[d['image_id']]) for d in detections]
        boxes = [{key: value for key, value in d.items() if key != 'segmentation'} for d in detections]
        dump(boxes, f'{self.outfile_prefix}.bbox.json')
        if 'segm' in self.metrics:
            dump(detections, f'{self.outfile_prefix}.segm.json')
        print_log(f'results written to {self.outfile_prefix}.*.json', 'current')


def encode_masks(masks: PastedMasks | torch.Tensor | list[dict]) -> list[dict]:
    """RLEs, with text counts, of PastedMasks or of masks (N, H, W) bool or uint8; RLEs are returned as they are."""
    if isinstance(masks, PastedMasks):
        return masks.rles()
    if not isinstance(masks, torch.Tensor):
        return masks
    columns = masks.transpose(1, 2).contiguous().cpu().numpy().view(np.uint8)
    rles = mask_api.encode(columns.transpose(2, 1, 0)) if len(columns) else []
    return [dict(rle, counts=rle['counts'].decode()) for rle in rles]


def detections_of(result: dict, image: dict, category_ids: Sequence[Any]) -> Iterator[dict]:
    """COCO result dicts of one image; labels whose class the annotations do not have are left out.

    Raises ValueError, naming the image, for numbers that are not finite, boxes of negative size, labels that are no
    class, and masks that are not the image's.
    """
    where = _where(result)
    boxes, scores, labels = result['bboxes'].astype(np.float64), result['scores'].astype(np.float64), result['labels']
    boxes[:, 2:] -= boxes[:, :2]
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise UserError(f'the model predicts boxes or scores that are not finite {where}: were its weights, or the '
                        'training they come from, broken by NaN?')
    if (boxes[:, 2:] < -1).any():
        raise UserError(f'the model predicts boxes of negative width or height {where}: they must be x1, y1, x2, y2')
    # Where x2 is the last pixel, as Detectron counts, a box of less than a pixel ends before it begins.
    boxes[:, 2:] = boxes[:, 2:].clip(0)
    if ((labels < 0) | (labels >= len(category_ids))).any():
        raise UserError(f'the model predicts the label {labels.max()} {where}; there are {len(category_ids)} classes')
    masks, size = result.get('masks', [None] * len(boxes)), [image['height'], image['width']]
    if 'masks' in result and len(masks) and list(masks[0]['size']) != size:
        raise UserError(f'the model predicts masks of height and width {masks[0]["size"]} {where}, which has {size}')
    for box, score, label, mask in zip(boxes.tolist(), scores.tolist(), labels.tolist(), masks, strict=True):
        if category_ids[label] is not None:
            detection = dict(image_id=image['id'], category_id=category_ids[label], bbox=box, score=score)
            yield detection if mask is None else dict(detection, segmentation=mask)


def _checked(rles: list, sample: dict) -> list[dict]:
    """RLEs that were not made here."""
    return checked_rles(rles, [sample['ori_shape']] * len(rles), lambda i: f'predicted mask {i} {_where(sample)}')


def _where(sample: dict) -> str:
    return f'for image {sample.get("img_path") or sample["img_id"]}'


def _log_table(title: str, rows: list[tuple[str, dict[str, float]]]) -> None:
    columns = list(dict.fromkeys(item for _, values in rows for item in values))
    cells = [[name, *(f'{values[c]:.3f}' if c in values else '' for c in columns)] for name, values in rows]
    print_log('\n' + AsciiTable([['', *columns], *cells], title).table, 'current')
