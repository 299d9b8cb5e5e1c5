"""Predicted masks, pasted into the image."""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.ops.arguments import check_whole
from mmdet.ops.extension import SERVED, fake


def paste_masks(probs: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """Pastes predicted masks into images: bilinear, sampled at pixel centres, zeros around each map.

    Args:
        probs (Tensor): (N, h, w) probabilities, floating point (computed in float32).
        boxes (Tensor): (N, 4) xyxy in pixels of the image, floating point. A box of no area gives an empty mask.
        height (int), width (int): size of the image in pixels.
        threshold (float): positive; a pixel belongs to the mask from this probability on.

    Returns:
        Tensor: bool (N, height, width). No gradient.

    Raises:
        ValueError: shapes, sizes, devices or a threshold that do not fit. TypeError: other than floating point.
    """
    probs, boxes = checked('paste_masks', probs, boxes, height, width, threshold)
    compute = torch.ops.mmdet.paste_masks if SERVED[probs.device.type] else _slow
    return compute(probs, boxes, height, width, threshold)


def checked(name: str, probs: Tensor, boxes: Tensor, height: int, width: int,
            threshold: float) -> tuple[Tensor, Tensor]:
    """Both as float32 and without gradient. ValueError or TypeError, said by `name`, where they do not fit."""
    if probs.dim() != 3 or boxes.shape != (probs.size(0), 4):
        raise ValueError(f'{name}: probs must be (N, h, w) and boxes (N, 4), got '
                         f'{tuple(probs.shape)} and {tuple(boxes.shape)}')
    if not probs.is_floating_point() or not boxes.is_floating_point():
        raise TypeError(f'{name}: probs and boxes must be floating point, got {probs.dtype} and {boxes.dtype}')
    if probs.device != boxes.device:
        raise ValueError(f'{name}: probs are on {probs.device}, boxes on {boxes.device}')
    if not threshold > 0:
        raise ValueError(f'{name}: threshold must be positive (all outside the boxes is 0), got {threshold}')
    check_whole(name, height=height, width=width)
    return probs.detach().float(), boxes.detach().float()


def _slow(probs, boxes, height, width, threshold):
    masks = torch.zeros((probs.size(0), height, width), dtype=torch.bool, device=probs.device)
    for number, left, top, piece in pasted_pieces(probs, boxes, height, width, threshold):
        masks[number, top:top + piece.size(0), left:left + piece.size(1)] = piece
    return masks


def pasted_pieces(probs: Tensor, boxes: Tensor, height: int, width: int,
                  threshold: float) -> Iterator[tuple[int, int, int, Tensor]]:
    """Number, left, top and bool (h, w) pixels of every mask that has an area, in the part of the image it reaches."""
    cell = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([probs.size(2), probs.size(1)])
    drawn = (cell > 0).all(1) & boxes.isfinite().all(1)
    # Interpolation against the zeros around a map reaches half a cell beyond its box.
    limit = boxes.new_tensor([width, height])
    starts = (boxes[:, :2] - cell / 2).floor().clamp(min=0).minimum(limit).nan_to_num().long().tolist()
    stops = (boxes[:, 2:] + cell / 2).ceil().clamp(min=0).minimum(limit).nan_to_num().long().tolist()
    for number in drawn.nonzero().squeeze(1).tolist():
        (x_start, y_start), (x_stop, y_stop) = starts[number], stops[number]
        x = torch.arange(x_start, x_stop, dtype=boxes.dtype, device=boxes.device) + 0.5
        y = torch.arange(y_start, y_stop, dtype=boxes.dtype, device=boxes.device) + 0.5
        x1, y1, x2, y2 = boxes[number]
        x, y = (x - x1) / (x2 - x1) * 2 - 1, (y - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=-1)
        area = F.grid_sample(probs[number, None, None], grid[None], align_corners=False)[0, 0]
        yield number, x_start, y_start, area >= threshold


@fake('paste_masks')
def _fake(probs, boxes, height, width, threshold):
    return probs.new_empty((probs.size(0), height, width), dtype=torch.bool)
