"""Greedy non-maximum suppression: of boxes that overlap by more than a threshold, the best-scored stays.

One kernel serves all three functions: (B, N) boxes walked in the order of their scores, each compared with the kept
ones of its own group. Of many groups on a GPU another does.
"""
import torch
from torch import Tensor

from mmdet.ops.extension import KERNELS, SERVED, fake

MAX_COMPARED = 1 << 14  # boxes of an image of which a GPU compares every two, for which it takes a bit each


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Suppresses boxes regardless of class, as torchvision.ops.nms does.

    Args:
        boxes (Tensor): (N, 4) xyxy in pixels, floating point (computed in float32, or float64 if they are).
        scores (Tensor): (N,), floating point; equal scores keep their order.
        iou_threshold (float): a box goes when its IoU with a better kept one is larger.
        offset (int): 1 counts a box's width as x2 - x1 + 1, as Detectron does; 0 as x2 - x1.

    Returns:
        Tensor: int64 (K,) indices of the kept boxes, best first.

    Raises:
        ValueError: shapes or devices that do not fit, an offset other than 0 and 1. TypeError: dtypes that do not fit.
    """
    return batched_nms(boxes, scores, None, iou_threshold, offset)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor | None, iou_threshold: float, offset: int = 0) -> Tensor:
    """Suppresses boxes within each class. Otherwise as `nms`.

    Args:
        boxes (Tensor): (N, 4) xyxy in pixels, floating point.
        scores (Tensor): (N,), floating point.
        idxs (Tensor or None): (N,), class of each box; None: all are of one.
        iou_threshold (float), offset (int): as in `nms`.

    Returns:
        Tensor: int64 (K,) indices of the kept boxes, best first.

    Raises:
        ValueError or TypeError: as `nms`.
    """
    groups = torch.zeros_like(scores, dtype=torch.int64) if idxs is None else idxs.long()
    _check(boxes, scores, groups, 2, iou_threshold)
    order = scores.argsort(stable=True, descending=True)
    count = order.new_full((1,), order.numel())
    keep = _suppress(boxes[None], order[None], groups[None], count, iou_threshold, order.numel(), offset,
                     many_groups=idxs is not None)[0]
    return keep[keep >= 0]


def nms_images(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, max_keep: int,
               offset: int = 0) -> Tensor:
    """Suppresses boxes within each group of each image of a padded batch, without waiting for the device.

    Args:
        boxes (Tensor): (B, N, 4) xyxy in pixels, floating point.
        scores (Tensor): (B, N), floating point; -inf marks padding, which is never kept.
        groups (Tensor): int64 (B, N), class or pyramid level.
        iou_threshold (float): a box goes when its IoU with a better kept one is larger.
        max_keep (int): boxes to keep in an image.
        offset (int): as in `nms`.

    Returns:
        Tensor: int64 (B, max_keep) indices into N, best first, then -1.

    Raises:
        ValueError or TypeError: as `nms`; a negative max_keep.
    """
    _check(boxes, scores, groups, 3, iou_threshold)
    if not isinstance(max_keep, (int, torch.SymInt)):
        raise TypeError(f'nms_images: max_keep must be a whole number, got {max_keep!r}')
    if max_keep < 0:
        raise ValueError(f'nms_images: max_keep must not be negative, got {max_keep}')
    scores, order = scores.sort(stable=True, descending=True)
    count = (scores != -torch.inf).sum(1)
    return _suppress(boxes, order, groups, count, iou_threshold, max_keep, offset)


def _suppress(boxes, order, groups, count, iou_threshold, max_keep, offset, many_groups=False):
    if offset not in (0, 1):
        raise ValueError(f'nms: offset must be 0 or 1, got {offset!r}')
    boxes = boxes.detach().to(torch.float64 if boxes.dtype == torch.float64 else torch.float32)
    if offset:
        boxes = torch.cat([boxes[..., :2], boxes[..., 2:] + offset], dim=-1)
    if (many_groups or boxes.size(1) > MAX_COMPARED) and KERNELS['nms_segments', boxes.device.type]:
        return _by_segments(boxes, order, groups, count, iou_threshold, max_keep)
    compute = torch.ops.mmdet.nms if SERVED[boxes.device.type] else _slow
    return compute(boxes, order, groups, count, iou_threshold, max_keep)


def _by_segments(boxes, order, groups, counts, iou_threshold, max_keep):
    """On GPUs: boxes of one group lie together, so that no others are compared with them."""
    place = torch.arange(order.size(1), device=order.device)
    groups = groups - groups.amin(1, keepdim=True)  # a negative one is of padding
    segments = groups.gather(1, order).masked_fill_(place >= counts[:, None], -1)
    segments, rank = segments.sort(dim=1, stable=True)
    boxes = boxes.gather(1, order.gather(1, rank)[..., None].expand(-1, -1, 4))
    kept = torch.ops.mmdet.nms_segments(boxes, segments, rank, iou_threshold, max_keep)
    column = kept.cumsum(1) - 1
    column.masked_fill_(~kept | (column >= max_keep), max_keep)  # one that is cut off
    return order.new_full((len(order), max_keep + 1), -1).scatter_(1, column, order)[:, :max_keep]


def _check(boxes, scores, groups, dim, iou_threshold):
    if not isinstance(iou_threshold, (int, float)) or iou_threshold != iou_threshold:
        raise ValueError(f'nms: iou_threshold must be a number, got {iou_threshold!r}')
    wanted = '(N, 4)' if dim == 2 else '(B, N, 4)'
    if boxes.dim() != dim or boxes.size(-1) != 4:
        raise ValueError(f'nms: boxes must be {wanted}, got {tuple(boxes.shape)}')
    if scores.shape != boxes.shape[:-1] or groups.shape != scores.shape:
        raise ValueError(f'nms: boxes {tuple(boxes.shape)}, scores {tuple(scores.shape)} and groups '
                         f'{tuple(groups.shape)} do not belong together')
    if not boxes.is_floating_point() or not scores.is_floating_point():
        raise TypeError(f'nms: boxes and scores must be floating point, got {boxes.dtype} and {scores.dtype}')
    if groups.dtype != torch.int64:
        raise TypeError(f'nms: groups must be int64, got {groups.dtype}')
    if not boxes.device == scores.device == groups.device:
        raise ValueError(f'nms: boxes are on {boxes.device}, scores on {scores.device}, groups on {groups.device}')


def _slow(boxes, order, groups, counts, iou_threshold, max_keep):
    import torchvision
    keep = order.new_full((boxes.size(0), max_keep), -1)
    for image, count in enumerate(counts.tolist()):
        candidates = order[image, :count]
        ranks = torch.arange(count, 0, -1, dtype=torch.float64, device=boxes.device).to(boxes.dtype)
        suppressed = torch.ones(count, dtype=torch.bool, device=boxes.device)
        image_groups = groups[image, candidates]
        for group in image_groups.unique():
            members = (image_groups == group).nonzero().squeeze(1)
            survivors = torchvision.ops.nms(boxes[image, candidates[members]], ranks[members], iou_threshold)
            suppressed[members[survivors]] = False
        kept = candidates[~suppressed][:max_keep]
        keep[image, :kept.numel()] = kept
    return keep


@fake('nms_segments')
def _fake_segments(boxes, segments, rank, iou_threshold, max_keep):
    return torch.empty_like(segments, dtype=torch.bool)


@fake('nms')
def _fake(boxes, order, groups, counts, iou_threshold, max_keep):
    return order.new_empty((boxes.size(0), max_keep))
