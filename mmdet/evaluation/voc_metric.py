"""VOCMetric: the box AP of Pascal VOC."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable

from mmdet.errors import UserError
from mmdet.registry import METRICS
from mmdet.structures import to_host

USUAL_MODES = dict(VOC2007='11points', VOC2012='area')


class Matches(NamedTuple):
    """The D detections of a class in all images by falling score, each with the object it covers most."""
    ious: np.ndarray       # (D,) float64, with the object; 0 where its image has none
    objects: np.ndarray    # (D,) int64, number of the object
    difficult: np.ndarray  # (D,) bool, whether the object does not count
    num_objects: int       # that count


@METRICS.register_module()
class VOCMetric(BaseMetric):
    """Mean over the classes of the average precision, as Pascal VOC defines it.

    A detection is right if its IoU with the object of its class that it covers most reaches the threshold and no
    detection of higher score is right for this object. Difficult objects count neither as found nor as missed. A pixel
    has width 1 in the boxes of VOC, so widths are x2 - x1 + 1. Figures: pascal_voc/mAP, the mean over the thresholds,
    and pascal_voc/AP50, ... for each.

    The ground truth is gt_instances and ignored_instances of the samples, in pixels of the original image: in the test
    pipeline LoadAnnotations stands behind Resize.

    Args:
        iou_thrs: IoU thresholds.
        metric: 'mAP'.
        eval_mode: '11points' (VOC 2007), the mean of the best precision at recall 0, 0.1, ..., 1; or 'area' (since VOC
            2010), the area under the curve.
        outfile_prefix: write PREFIX_det_test_CLASS.txt for each class, as the server of VOC takes it: name of the
            picture, score and corners, which count pixels from 1.
        format_only: only write these files, no evaluation; the samples need no ground truth.
        collect_device, prefix: see mmengine's BaseMetric.

    Source: Everingham et al., The Pascal Visual Object Classes Challenge, section 4.2; corners and names of the figures
    are those of mmdetection's VOCMetric.
    """
    default_prefix = 'pascal_voc'

    def __init__(self, iou_thrs: float | Sequence[float] = 0.5, metric: str = 'mAP', eval_mode: str = '11points',
                 collect_device: str = 'cpu', prefix: str | None = None, outfile_prefix: str | None = None,
                 format_only: bool = False):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and outfile_prefix is None:
            raise UserError('VOCMetric(format_only=True) needs outfile_prefix: where the result files go')
        self.outfile_prefix, self.format_only = outfile_prefix, format_only
        if metric != 'mAP':
            raise UserError(f"VOCMetric knows metric='mAP', not {metric!r}")
        if eval_mode not in USUAL_MODES.values():
            raise UserError(f"VOCMetric knows eval_mode='11points' and 'area', not {eval_mode!r}")
        self.iou_thrs = [float(iou) for iou in np.atleast_1d(np.asarray(iou_thrs))]
        self.eval_mode = eval_mode

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions and the ground truth of a batch."""
        for sample in data_samples:
            known, ignored = sample.get('gt_instances', {}), sample.get('ignored_instances', {})
            if not self.format_only and ('bboxes' not in known or 'labels' not in known):
                raise UserError('VOCMetric has no ground truth: add LoadAnnotations(with_bbox=True) behind Resize to '
                                'the test pipeline')
            result: dict[str, Any] = dict(name=(sample.get('img_id'), sample.get('img_path')))
            for kind, fields, instances in (('gt', ('bboxes', 'labels'), known),
                                            ('ignored', ('bboxes', 'labels'), ignored),
                                            ('pred', ('bboxes', 'labels', 'scores'), sample['pred_instances'])):
                there = [field for field in fields if field in instances]
                for field, value in zip(there, to_host([instances[field] for field in there]), strict=True):
                    result[f'{kind}_{field}'] = value.numpy()
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Evaluate the predictions of all processes, each image once."""
        meta = self.dataset_meta or {}
        usual = USUAL_MODES.get(str(meta.get('dataset_type')), self.eval_mode)
        if usual != self.eval_mode:
            print_log(f'{meta["dataset_type"]} is usually evaluated with eval_mode={usual!r}; here it is '
                      f'{self.eval_mode!r}', 'current')
        images = list({result['name']: result for result in reversed(results)}.values())[::-1]
        classes = meta.get('classes')
        if classes is None:
            raise UserError("VOCMetric needs the names of the classes: the data set's metainfo has no 'classes'")
        if self.outfile_prefix is not None:
            self._write(images, classes)
        if self.format_only:
            return {}
        matches = [match_class(images, label) for label in range(len(classes))]
        figures = {}
        for iou in self.iou_thrs:
            curves = [precision_recall(each, iou) for each in matches]
            aps = [average_precision(*curve, self.eval_mode) if each.num_objects else np.nan
                   for each, curve in zip(matches, curves, strict=True)]
            figures[f'AP{round(iou * 100):02d}'] = float(np.nanmean(aps)) if not np.isnan(aps).all() else 0.0
            rows = [[name, each.num_objects, len(each.ious), f'{recall[-1] if len(recall) else 0:.3f}', f'{ap:.3f}']
                    for name, each, (_, recall), ap in zip(classes, matches, curves, aps, strict=True)]
            print_log(f'\nIoU {iou:g}, {self.eval_mode}\n' + AsciiTable(
                [['class', 'objects', 'detections', 'recall', 'AP'], *rows]).table, 'current')
        mean = sum(figures.values()) / len(figures)
        return {'mAP': mean, **{name: round(value, 3) for name, value in figures.items()}}

    def _write(self, images: Sequence[dict], classes: Sequence[str]) -> None:
        Path(str(self.outfile_prefix)).parent.mkdir(parents=True, exist_ok=True)
        for label, name in enumerate(classes):
            lines = [f'{Path(image["name"][1]).stem} {score:.6f} ' + ' '.join(f'{side + 1:.1f}' for side in box) + '\n'
                     for image in images for box, score, own in zip(
                         image['pred_bboxes'], image['pred_scores'], image['pred_labels'], strict=True) if own == label]
            Path(f'{self.outfile_prefix}_det_test_{name}.txt').write_text(''.join(lines))
        print_log(f'results written to {self.outfile_prefix}_det_test_*.txt', 'current')


def match_class(images: Sequence[dict], label: int) -> Matches:
    """Match the detections of one class in all images."""
    parts, scores, count, total = [], [np.empty(0)], 0, 0
    for image in images:
        own, spared = (image[f'{kind}_bboxes'][image[f'{kind}_labels'] == label] for kind in ('gt', 'ignored'))
        chosen = image['pred_labels'] == label
        ious = overlaps(image['pred_bboxes'][chosen], np.concatenate([own.reshape(-1, 4), spared.reshape(-1, 4)]))
        best = ious.argmax(axis=1) if ious.shape[1] else np.zeros(len(ious), np.int64)
        parts.append((ious.max(axis=1, initial=0), best + total, best >= len(own)))
        scores.append(image['pred_scores'][chosen])
        count += len(own)
        total += ious.shape[1]
    order = np.argsort(-np.concatenate(scores), kind='stable')
    ious, objects, difficult = (np.concatenate(column)[order] for column in zip(*parts, strict=True))
    return Matches(ious, objects, difficult, count)


def overlaps(detections: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """IoU of boxes (D, 4) and (G, 4), xyxy of pixels that belong to the boxes: (D, G) float64."""
    first, second = detections.astype(np.float64)[:, None], objects.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + 1
    common = sides.clip(0).prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=2) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common)


def precision_recall(matches: Matches, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall after each detection that counts."""
    covers = matches.ious >= iou
    counts = ~(covers & matches.difficult)
    right = np.zeros(len(covers), bool)
    candidates = np.flatnonzero(covers & counts)
    right[candidates[np.unique(matches.objects[candidates], return_index=True)[1]]] = True
    found, wrong = np.cumsum(right[counts]), np.cumsum(~right[counts])
    return found / np.maximum(found + wrong, 1), found / max(matches.num_objects, 1)


def average_precision(precision: np.ndarray, recall: np.ndarray, mode: str) -> float:
    """AP of a curve; `mode` as in VOCMetric."""
    if not len(precision):
        return 0.0
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    if mode == 'area':
        return float((np.diff(recall, prepend=0) * best).sum())
    places = np.searchsorted(recall, np.arange(0, 1.01, 0.1))
    return float(np.append(best, 0)[places].mean())
