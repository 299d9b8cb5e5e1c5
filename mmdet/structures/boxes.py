"""Functions on boxes: (..., N, 4) tensors, x1 y1 x2 y2 in pixels."""
import torch
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """Areas (..., N) of boxes (..., N, 4); 0 for a box turned inside out."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)  # backward of prod() waits for a GPU
    return width * height


def box_iou(boxes1: Tensor, boxes2: Tensor, mode: str = 'iou', eps: float = 1e-6) -> Tensor:
    """Overlap (..., N, M) of every box of boxes1 (..., N, 4) with every box of boxes2 (..., M, 4).

    mode 'iou' divides the intersection by the union, 'iof' by the area of boxes1; the divisor is at least eps.
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
    """Boxes (..., N, 4) cut to their image; height and width are numbers or tensors that broadcast to (..., N)."""
    x1, y1, x2, y2 = boxes.clamp(min=0).unbind(-1)
    return torch.stack([x1.clamp(max=width), y1.clamp(max=height), x2.clamp(max=width), y2.clamp(max=height)], dim=-1)


def to_rois(boxes: Tensor) -> Tensor:
    """Boxes (B, N, 4) of B images as rois (B * N, 5): image index, then xyxy pixels."""
    images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat([images[:, None, None].expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)
