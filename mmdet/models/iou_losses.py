"""Losses of overlapping boxes, float32 (..., 4) xyxy pixels. A head compares boxes with `reg_decoded_bbox=True`."""
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmdet.ops import box_area
from mmdet.registry import MODELS

from .losses import weighted_mean


def overlap(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Areas (...) of the intersection and the union of each pair of boxes (..., 4)."""
    low, high = torch.maximum(pred[..., :2], target[..., :2]), torch.minimum(pred[..., 2:], target[..., 2:])
    intersection = box_area(torch.cat([low, high], dim=-1))
    return intersection, box_area(pred) + box_area(target) - intersection


def enclosure(pred: Tensor, target: Tensor) -> Tensor:
    """Width and height (..., 2) of the least box around each pair of boxes (..., 4)."""
    return torch.maximum(pred[..., 2:], target[..., 2:]) - torch.minimum(pred[..., :2], target[..., :2])


class BoxLoss(nn.Module):
    """What these losses share. `compare(pred, target)` of each gives (..., 1), or (..., 4) to add up, for each pair.

    Args:
        eps: least divisor.
        loss_weight: factor of the result.
    """
    compares_boxes = True
    compare: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, eps: float = 1e-6, loss_weight: float = 1.0):
        super().__init__()
        self.eps = eps
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None) -> Tensor:
        """Scalar loss of `pred` and `target` (..., 4); `weight` (..., 1) of each row."""
        return self.loss_weight * weighted_mean(self.compare(pred.float(), target), weight, avg_factor)


@MODELS.register_module()
class IoULoss(BoxLoss):
    """-log(IoU) with mode 'log', 1 - IoU with 'linear', 1 - IoU^2 with 'square' (UnitBox, arXiv 1608.01471)."""

    def __init__(self, mode: str = 'log', eps: float = 1e-6, loss_weight: float = 1.0):
        super().__init__(eps, loss_weight)
        if mode not in ('log', 'linear', 'square'):
            raise ValueError(f"IoULoss: unknown mode {mode!r}; known: 'log', 'linear', 'square'")
        self.mode = mode

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        intersection, union = overlap(pred, target)
        iou = (intersection / union.clamp(min=self.eps)).clamp(min=self.eps)[..., None]
        return -iou.log() if self.mode == 'log' else 1 - (iou if self.mode == 'linear' else iou.square())


@MODELS.register_module()
class GIoULoss(BoxLoss):
    """1 - IoU + the share of the enclosing box that neither covers (arXiv 1902.09630)."""

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        intersection, union = overlap(pred, target)
        width, height = enclosure(pred, target).unbind(-1)
        around = (width * height).clamp(min=self.eps)
        return (1 - intersection / union.clamp(min=self.eps) + (around - union) / around)[..., None]


@MODELS.register_module()
class DIoULoss(BoxLoss):
    """1 - IoU + squared distance of the centres over that of the enclosing box's corners (arXiv 1911.08287)."""

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.distance(pred, target)[0]

    def distance(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (..., 1) and IoU (..., 1)."""
        intersection, union = overlap(pred, target)
        iou = intersection / (union + self.eps)
        shift = (target[..., :2] + target[..., 2:] - pred[..., :2] - pred[..., 2:]) / 2
        away = shift.square().sum(-1) / (enclosure(pred, target).square().sum(-1) + self.eps)
        return (1 - iou + away)[..., None], iou[..., None]


@MODELS.register_module()
class CIoULoss(DIoULoss):
    """DIoULoss + how far the aspect ratios differ, where boxes overlap by half; at most 2 (arXiv 1911.08287)."""

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        loss, iou = self.distance(pred, target)
        width, other_width = (boxes[..., 2:3] - boxes[..., :1] for boxes in (pred, target))
        height, other_height = (boxes[..., 3:] - boxes[..., 1:2] + self.eps for boxes in (pred, target))
        v = 4 / math.pi**2 * ((other_width / other_height).atan() - (width / height).atan()).square()
        with torch.no_grad():  # the paper takes it as given
            alpha = (iou > .5) * v / (1 - iou + v).clamp(min=self.eps)
        return (loss + alpha * v).clamp(min=0, max=2)


@MODELS.register_module()
class BoundedIoULoss(BoxLoss):
    """Smooth L1 of 1 - a bound of the IoU, for x, y, width and height each (arXiv 1711.00164).

    Args:
        beta: the smooth L1's; below it the loss is quadratic.
    """

    def __init__(self, beta: float = .2, eps: float = 1e-3, loss_weight: float = 1.0):
        super().__init__(eps, loss_weight)
        self.beta = beta

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        size, goal = (boxes[..., 2:] - boxes[..., :2] for boxes in (pred, target))
        away = (target[..., :2] + target[..., 2:] - pred[..., :2] - pred[..., 2:]).abs()  # twice the centres' distance
        shifted = 1 - ((goal - away) / (goal + away + self.eps)).clamp(min=0)
        scaled = 1 - torch.minimum(goal / (size + self.eps), size / (goal + self.eps))
        loss = torch.cat([shifted, scaled], dim=-1)
        return torch.where(loss < self.beta, loss.square() / (2 * self.beta), loss - self.beta / 2)
