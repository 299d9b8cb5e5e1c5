"""Losses over rows, some of them padding: sum(weight * loss) / avg_factor, in float32."""
import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.import_paths import elsewhere
from mmdet.registry import MODELS

__path__: list[str] = []  # mmdetection's is a package, whose modules mmdet/import_paths.py finds
__getattr__ = partial(elsewhere, __name__)


def weighted_mean(loss: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None) -> Tensor:
    """Scalar: sum of `loss` times `weight` (broadcast; None is 1) over `avg_factor` (None: the number of elements)."""
    if weight is not None:
        loss = loss * weight
    return loss.sum() / (max(loss.numel(), 1) if avg_factor is None else avg_factor)


def build_box_loss(cfg: dict, reg_decoded_bbox: bool, head: str) -> nn.Module:
    """The loss that a head's `loss_bbox` names; ValueError where it compares boxes and the head gives it offsets."""
    loss = MODELS.build(cfg)
    if getattr(loss, 'compares_boxes', False) and not reg_decoded_bbox:
        raise UserError(f"{head}: loss_bbox.type={cfg['type']!r} compares boxes, not offsets; "
                        'set reg_decoded_bbox=True')
    return loss


def accuracy(scores: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Percent, 0-dim: how many rows of (N, C) `scores` are highest at their label, over rows of non-zero `weight`."""
    hit = (scores.argmax(dim=1) == labels).float() * weight
    return 100 * hit.sum() / weight.sum().clamp(min=1)


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Softmax, per-class sigmoid or mask cross entropy.

    Args:
        use_sigmoid: one binary problem a class; label C (background) is negative in all of them.
        use_mask: predictions and labels are maps of the same shape, labels 0 or 1 (or between).
        class_weight: factor of each class.
        loss_weight: factor of the result.
    """
    class_weight: Tensor | None

    def __init__(self, use_sigmoid: bool = False, use_mask: bool = False, class_weight: Sequence[float] | None = None,
                 loss_weight: float = 1.0):
        super().__init__()
        if use_sigmoid and use_mask:
            raise UserError('CrossEntropyLoss takes use_sigmoid or use_mask, not both')
        self.use_sigmoid = use_sigmoid
        self.use_mask = use_mask
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', weights, persistent=False)
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None) -> Tensor:
        """Scalar loss.

        Args:
            pred: logits (N, C), or (N, h, w) with use_mask.
            target: int64 (N,), or (N, h, w) with use_mask.
            weight: (N,) factor of each row.
        """
        pred = pred.float()
        factors = None if self.class_weight is None else self.class_weight.float()
        if self.use_mask:
            loss = F.binary_cross_entropy_with_logits(pred, target.float(), reduction='none')
            weight = None if weight is None else weight[:, None, None]
        elif self.use_sigmoid:
            target = (target[:, None] == torch.arange(pred.shape[1], device=pred.device)).float()
            loss = F.binary_cross_entropy_with_logits(pred, target, weight=factors, reduction='none')
            weight = None if weight is None else weight[:, None]
        else:
            loss = F.cross_entropy(pred, target, weight=factors, reduction='none')
        return self.loss_weight * weighted_mean(loss, weight, avg_factor)


@MODELS.register_module()
class L1Loss(nn.Module):
    """Mean absolute difference times `loss_weight`."""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None) -> Tensor:
        """Scalar loss of `pred` and `target` (N, 4); `weight` broadcasts against them."""
        return self.loss_weight * weighted_mean((pred.float() - target).abs(), weight, avg_factor)


@MODELS.register_module()
class BalancedL1Loss(nn.Module):
    """Grows as a logarithm below `beta` and with slope `gamma` above: accurate boxes count more than in SmoothL1Loss.

    Args:
        alpha: less of it gives accurate boxes more weight. gamma: slope above `beta`. beta: where both meet.
        loss_weight: factor of the result.

    Source: Libra R-CNN (arXiv 1904.02701) section 3.3.
    """

    def __init__(self, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0, loss_weight: float = 1.0):
        super().__init__()
        if beta <= 0 or alpha <= 0:
            raise UserError(f'BalancedL1Loss needs alpha and beta above 0, not {alpha} and {beta}')
        self.alpha, self.gamma, self.beta, self.loss_weight = alpha, gamma, beta, loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None) -> Tensor:
        """Scalar loss of `pred` and `target` (N, 4); `weight` broadcasts against them."""
        d = (pred.float() - target).abs()
        b = math.exp(self.gamma / self.alpha) - 1
        below = self.alpha / b * (b * d + 1) * (b * d / self.beta + 1).log() - self.alpha * d
        above = self.gamma * d + self.gamma / b - self.alpha * self.beta
        return self.loss_weight * weighted_mean(torch.where(d < self.beta, below, above), weight, avg_factor)


@MODELS.register_module()
class SmoothL1Loss(nn.Module):
    """0.5 d^2 / beta below `beta`, d - beta / 2 above, for d the absolute difference (Fast R-CNN, arXiv 1504.08083)."""

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0):
        super().__init__()
        if beta <= 0:
            raise UserError(f'SmoothL1Loss needs beta > 0, not {beta}; use L1Loss for beta = 0')
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None) -> Tensor:
        """Scalar loss of `pred` and `target` (N, 4); `weight` broadcasts against them."""
        loss = F.smooth_l1_loss(pred.float(), target, beta=self.beta, reduction='none')
        return self.loss_weight * weighted_mean(loss, weight, avg_factor)
