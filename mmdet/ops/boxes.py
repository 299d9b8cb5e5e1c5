"""Functions on boxes: (..., N, 4) tensors, x1 y1 x2 y2 in pixels."""
from itertools import product

import torch
from torch import Tensor

from mmdet.ops.extension import KERNELS, fake

BACKGROUND, IGNORED = -1, -2  # in place of the number of an object
MAX_OVERLAPS = 1 << 24  # IoUs that match_boxes holds at a time without a kernel: float32 of 64 MiB


def box_area(boxes: Tensor) -> Tensor:
    """Areas of boxes; 0 for a box turned inside out.

    Args:
        boxes (Tensor): (..., N, 4) xyxy.

    Returns:
        Tensor: (..., N), in square pixels.
    """
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)  # backward of prod() waits for a GPU
    return width * height


def box_iou(boxes1: Tensor, boxes2: Tensor, mode: str = 'iou', eps: float = 1e-6) -> Tensor:
    """Overlap of every box of boxes1 with every box of boxes2.

    Args:
        boxes1 (Tensor): (..., N, 4) xyxy.
        boxes2 (Tensor): (..., M, 4) xyxy.
        mode (str): 'iou' divides the intersection by the union, 'iof' by the area of boxes1.
        eps (float): least divisor, in square pixels.

    Returns:
        Tensor: (..., N, M), from 0 to 1.

    Raises:
        ValueError: another mode.
    """
    if mode not in ('iou', 'iof'):
        raise ValueError(f"mode must be 'iou' or 'iof', not {mode!r}")
    # One coordinate after the other: less memory than corners (..., N, M, 2), and faster.
    left, top, right, bottom = boxes1[..., :, None, :].unbind(-1)
    other_left, other_top, other_right, other_bottom = boxes2[..., None, :, :].unbind(-1)
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp_(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp_(min=0)
    intersection = width * height
    divisor = box_area(boxes1)[..., :, None]
    if mode == 'iou':
        divisor = divisor + box_area(boxes2)[..., None, :] - intersection
    return intersection / divisor.clamp(min=eps)


def clip_boxes(boxes: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Boxes cut to their image.

    Args:
        boxes (Tensor): (..., N, 4) xyxy.
        height, width (int or Tensor): of the image in pixels; tensors broadcast to (..., N).

    Returns:
        Tensor: (..., N, 4) xyxy.
    """
    x1, y1, x2, y2 = boxes.clamp(min=0).unbind(-1)
    return torch.stack([x1.clamp(max=width), y1.clamp(max=height), x2.clamp(max=width), y2.clamp(max=height)], dim=-1)


def to_rois(boxes: Tensor) -> Tensor:
    """Boxes of B images as RoIs.

    Args:
        boxes (Tensor): (B, N, 4) xyxy.

    Returns:
        Tensor: (B * N, 5), image index, then xyxy.
    """
    images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat([images[:, None, None].expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)


def match_boxes(boxes: Tensor, objects: Tensor, is_object: Tensor, ignored: Tensor, valid: Tensor | None,
                pos_iou_thr: float, neg_iou_range: tuple[float, ...], min_pos_iou: float, match_low_quality: bool,
                gt_max_assign_all: bool, ignore_iof_thr: float, ignore_wrt_candidates: bool) -> Tensor:
    """The index of the object that each box stands for.

    Our kernels for GPUs keep no matrix of overlaps; elsewhere memory is bounded for any number of objects.

    Args:
        boxes (Tensor): (B, N, 4) or, where all images share them, (1, N, 4), xyxy pixels.
        objects (Tensor): (B, G, 4), as the boxes, and ignored (Tensor): (B, I, 4), regions.
        is_object (Tensor): bool (B, G), False for padding.
        valid (Tensor or None): bool (B, N); the others are IGNORED and claimed by no object.
        pos_iou_thr, neg_iou_range, min_pos_iou, match_low_quality, gt_max_assign_all, ignore_iof_thr,
            ignore_wrt_candidates: the rules, as models.task_modules.MaxIoUAssigner explains them.

    Returns:
        Tensor: int64 (B, N), from 0 to G - 1, or BACKGROUND, or IGNORED.

    Raises:
        ValueError: shapes that do not fit. RuntimeError: dtypes or devices that do not.
    """
    shape, (low, high), least = (len(objects), boxes.size(1)), neg_iou_range, max(min_pos_iou, 0)
    if not boxes.dim() == objects.dim() == ignored.dim() == 3 or len(boxes) not in (1, shape[0]) \
            or not boxes.size(2) == objects.size(2) == ignored.size(2) == 4 or len(ignored) != shape[0] \
            or is_object.shape != objects.shape[:2] or valid is not None and valid.shape != shape:
        raise ValueError('match_boxes: boxes must be (1 or B, N, 4), objects (B, G, 4), ignored (B, I, 4), is_object '
                         f'(B, G) and valid (B, N), got {tuple(boxes.shape)}, {tuple(objects.shape)}, '
                         f'{tuple(ignored.shape)}, {tuple(is_object.shape)} and '
                         f'{None if valid is None else tuple(valid.shape)}')
    tensors = [boxes, objects, ignored, is_object, *([] if valid is None else [valid])]
    if KERNELS['match_boxes', boxes.device.type] and all(tensor.device == boxes.device for tensor in tensors) \
            and [tensor.dtype for tensor in tensors] == [*[torch.float32] * 3, *[torch.bool] * (len(tensors) - 3)]:
        boxes, objects, ignored, is_object, *given = (tensor.contiguous() for tensor in tensors)
        return torch.ops.mmdet.match_boxes(
            boxes, objects, is_object, ignored, given[0] if given else None, pos_iou_thr, low, high, least,
            match_low_quality, gt_max_assign_all, ignore_iof_thr, ignore_wrt_candidates)

    left_out = torch.zeros(shape, dtype=torch.bool, device=boxes.device) if valid is None else ~valid
    if ignore_iof_thr > 0 and ignored.size(1):
        iof = box_iou(boxes, ignored, mode='iof') if ignore_wrt_candidates else \
            box_iou(ignored, boxes, mode='iof').transpose(1, 2)
        left_out = left_out | (iof.amax(dim=2) > ignore_iof_thr)
    num_objects = objects.size(1)
    step = max(1, MAX_OVERLAPS // max(left_out.numel(), 1))
    best_iou = boxes.new_zeros(shape)
    best_object = torch.zeros_like(best_iou, dtype=torch.long)
    claimed_by = torch.full_like(best_object, -1)
    claims = []
    # First each box finds its best object and each object its best box, then the objects claim these.
    for claiming, start in product((False, True)[:1 + match_low_quality], range(0, num_objects, step)):
        if not claiming or step < num_objects:  # else they are still there
            part = slice(start, start + step)
            iou = box_iou(objects[:, part], boxes)
            iou.masked_fill_(~is_object[:, part, None] | left_out[:, None], -1)
        if not claiming:
            value, index = iou.max(dim=1)
            better = value > best_iou
            best_iou = torch.where(better, value, best_iou)
            best_object = torch.where(better, index + start, best_object)
            claims.append(iou.max(dim=2))
            continue
        claimed_iou, first = claims[start // step]
        hit = (iou == claimed_iou[..., None]) if gt_max_assign_all else torch.zeros_like(iou).scatter_(
            2, first[..., None], 1).bool()
        hit &= (claimed_iou >= least)[..., None]
        order = torch.arange(start + 1, start + 1 + iou.shape[1], device=iou.device)[:, None]
        last = (hit * order).amax(dim=1)
        claimed_by = torch.where(last > 0, last - 1, claimed_by)

    matched = torch.where((best_iou >= low) & (best_iou < high), BACKGROUND, IGNORED)
    matched = torch.where(best_iou >= pos_iou_thr, best_object, matched)
    return torch.where(claimed_by >= 0, claimed_by, matched).masked_fill_(left_out, IGNORED)


@fake('match_boxes')
def _fake(boxes, objects, is_object, ignored, valid, positive, low, high, least, low_quality, all_best, most_ignored,
          of_box):
    return is_object.new_empty(len(objects), boxes.size(1), dtype=torch.long)
