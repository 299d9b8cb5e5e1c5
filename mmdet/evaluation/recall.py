"""Average recall of boxes, whatever their class: CocoMetric(metric='proposal_fast').

Source: eval_recalls of mmdetection 3.3, whose one-to-one matching takes the greatest IoU of all first.
"""
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from mmdet.structures import box_iou

from .ground_truth import Seen


def fast_recall(seen: Seen, limits: Sequence[int], thresholds: Iterable[float]) -> dict[str, float]:
    """AR@N for each N of `limits`: the share of objects, crowds aside, that the best N boxes of an image meet.

    It is the mean over the IoUs `thresholds`; -1 where there are no objects.
    """
    objects: dict = {image['id']: [] for image in seen.annotations['images']}
    for ann in seen.annotations['annotations']:
        if not ann.get('ignore') and not ann.get('iscrowd'):
            x, y, width, height = ann['bbox']
            objects[ann['image_id']].append([x, y, x + width, y + height])
    overlaps = []
    for own, result in zip(objects.values(), seen.results, strict=True):
        best = np.argsort(-result['scores'], kind='stable')[:max(limits)]
        boxes = torch.from_numpy(result['bboxes'][best]).float()
        overlaps.append(box_iou(torch.tensor(own, dtype=torch.float32).reshape(-1, 4), boxes).numpy())
    figures = {}
    for limit in limits:
        met = np.concatenate([_met(iou[:, :limit].copy()) for iou in overlaps])
        figures[f'AR@{limit}'] = float(np.mean([(met >= iou).mean() for iou in thresholds])) if len(met) else -1.
    return figures


def _met(iou: np.ndarray) -> np.ndarray:
    """IoU (G,) with which each object is met by a box of its own, of iou (G, P); 0 where none is left."""
    met = np.zeros(len(iou))
    for i in range(min(iou.shape)):
        best = np.unravel_index(iou.argmax(), iou.shape)
        met[i] = iou[best]
        iou[best[0]] = iou[:, best[1]] = -1
    return met
