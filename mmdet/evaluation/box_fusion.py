"""Weighted boxes fusion: the detections of several models as one."""
from collections.abc import Sequence

import numpy as np


def fuse_boxes(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, models: np.ndarray, weights: Sequence[float],
               iou_thr: float = 0.55, score_thr: float = 0., kind: str = 'avg') -> tuple[np.ndarray, ...]:
    """Detections of one image that overlap become one, whose corners are their mean, weighted by the scores.

    Args:
        boxes: (D, 4) xyxy. scores, labels, models: (D,); the model is a place in `weights`.
        weights: of each model, by which its scores are multiplied.
        iou_thr: a detection joins the fused box of its class that it overlaps most, if by more than this.
        score_thr: detections below it are left out.
        kind: the score of a fused box: the mean of its parts, less where models have not found it (avg); the largest
            (max); or see the source (box_and_model_avg, absent_model_aware_avg).

    Returns:
        boxes (N, 4), scores (N,) and labels (N,), the best first.

    Source: arXiv 1910.13302; the kinds of scores are those of its authors' package ensemble_boxes.
    """
    every = np.asarray(weights, np.float64)
    kept = np.flatnonzero((scores >= score_thr) & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1))
    weighted = scores * every[models]
    order = kept[np.argsort(-weighted[kept], kind='stable')]
    fused_boxes: list[np.ndarray] = []
    fused_scores: list[float] = []
    fused_labels: list[int] = []
    for label in dict.fromkeys(labels[order].tolist()):
        clusters: list[list[int]] = []
        means = np.zeros((0, 4))
        for i in order[labels[order] == label].tolist():
            ious = _ious(means, boxes[i])
            best = int(ious.argmax()) if len(ious) else -1
            if best < 0 or ious[best] <= iou_thr:
                clusters.append([i])
                means = np.concatenate([means, boxes[i:i + 1]])
            else:
                clusters[best].append(i)
                means[best] = np.average(boxes[clusters[best]], axis=0, weights=np.maximum(weighted[clusters[best]],
                                                                                           1e-12))
        fused_boxes.append(means)
        fused_scores += [_score(weighted[parts], models[parts], every, kind) for parts in clusters]
        fused_labels += [label] * len(clusters)
    best_first = np.argsort(-np.array(fused_scores), kind='stable')
    return (np.concatenate([np.zeros((0, 4)), *fused_boxes])[best_first], np.array(fused_scores)[best_first],
            np.array(fused_labels, np.int64)[best_first])


def _score(scores: np.ndarray, models: np.ndarray, weights: np.ndarray, kind: str) -> float:
    """Of a fused box, from the weighted scores and the models of its parts."""
    number, total = len(scores), weights[models].sum()
    if kind == 'max':
        return float(scores.max() / weights.max())
    if kind == 'box_and_model_avg':
        return float(scores.sum() / total * weights[np.unique(models)].sum() / weights.sum())
    if kind == 'absent_model_aware_avg':
        absent = np.setdiff1d(np.arange(len(weights)), models)
        return float(scores.sum() / (total + weights[absent].sum()))
    return float(scores.mean() * min(len(weights), number) / weights.sum())


def _ious(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    sides = (np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])).clip(0)
    common = sides.prod(axis=1)
    return common / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common)
