"""Soft non-maximum suppression: boxes that overlap a better one lose score, not their place."""
import torch
from torch import Tensor

from mmdet.ops.nms import _check


def soft_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, max_keep: int, iou_threshold: float = 0.3,
             sigma: float = 0.5, min_score: float = 1e-3, method: str = 'linear') -> tuple[Tensor, Tensor]:
    """Takes the best box, lowers the scores of those of its class that overlap it, takes the best of the rest, and on.

    Args:
        boxes (Tensor): (N, 4) xyxy in pixels, floating point.
        scores (Tensor): (N,), floating point.
        idxs (Tensor): int64 (N,), class of each box.
        max_keep (int): boxes to keep.
        iou_threshold (float): from this IoU on, 'linear' multiplies a score by 1 - IoU, and 'naive' by 0.
        sigma (float): 'gaussian' multiplies each score by exp(-IoU^2 / sigma).
        min_score (float): boxes of a lower score go.
        method (str): 'linear', 'gaussian' or 'naive'.

    Returns:
        tuple: int64 (K,) indices of the kept boxes, best first, and their lowered scores (K,).

    Raises:
        ValueError: shapes or devices that do not fit, an unknown method. TypeError: dtypes that do not fit.

    Source: Soft-NMS (arXiv 1704.04503); mmcv's soft_nms has the same numbers.
    """
    _check(boxes, scores, idxs, 2, iou_threshold)
    if method not in ('linear', 'gaussian', 'naive'):
        raise ValueError(f"soft_nms: method must be 'linear', 'gaussian' or 'naive', got {method!r}")
    boxes, left = boxes.float(), scores.float()
    x1, y1, x2, y2 = boxes.unbind(1)
    area = (x2 - x1) * (y2 - y1)
    kept, kept_scores = [], []
    for _ in range(min(max_keep, len(boxes))):
        score, best = left.max(dim=0)
        if score == -torch.inf:
            break
        kept.append(best)
        kept_scores.append(score)
        width = (torch.minimum(x2, x2[best]) - torch.maximum(x1, x1[best])).clamp(min=0)
        height = (torch.minimum(y2, y2[best]) - torch.maximum(y1, y1[best])).clamp(min=0)
        iou = width * height / (area + area[best] - width * height)
        iou = torch.where(idxs == idxs[best], iou, 0)
        if method == 'gaussian':
            left = left * torch.exp(-iou * iou / sigma)
        else:
            left = torch.where(iou < iou_threshold, left, left * (1 - iou) if method == 'linear' else 0)
        left = torch.where(left < min_score, -torch.inf, left)
        left[best] = -torch.inf
    if not kept:
        return idxs[:0], scores[:0]
    return torch.stack(kept), torch.stack(kept_scores).to(scores.dtype)
