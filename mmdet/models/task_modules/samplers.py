"""Samplers that prefer some boxes to others. RandomSampler draws by a random key of each box; these give other keys.

Shapes: B images, N boxes of an image.
"""
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import UserError
from mmdet.registry import TASK_UTILS
from mmdet.structures import GroundTruth, box_iou

from .matching import BACKGROUND, RandomSampler

__path__: list[str] = []  # mmdetection's is a package, whose modules mmdet/import_paths.py finds
Losses = Callable[[], Tensor] | None


@TASK_UTILS.register_module()
class PseudoSampler(RandomSampler):
    """Takes all boxes."""

    def __init__(self) -> None:
        super().__init__(sys.maxsize, 1., add_gt_as_proposals=False)


@TASK_UTILS.register_module()
class OHEMSampler(RandomSampler):
    """Takes the boxes whose class the box head gets most wrong. Arguments as RandomSampler's.

    Source: Online Hard Example Mining (arXiv 1604.03540).
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True,
                 loss_key: str = 'loss_cls'):
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        if loss_key != 'loss_cls':
            raise UserError(f"OHEMSampler.loss_key={loss_key!r}: only 'loss_cls' is defined here")

    def keys(self, matched: Tensor, boxes: Tensor, gt: GroundTruth, losses: Losses = None) -> tuple[Tensor, Tensor]:
        if losses is None:
            raise UserError('OHEMSampler asks the box head which RoIs are hard: it belongs into train_cfg.rcnn')
        loss = losses()
        return (key := loss / (1 + loss)), key


@TASK_UTILS.register_module()
class InstanceBalancedPosSampler(RandomSampler):
    """Takes as many positives of each object, as far as there are. Arguments as RandomSampler's.

    Source: Libra R-CNN (arXiv 1904.02701); mmdetection 3.3's InstanceBalancedPosSampler.
    """

    def keys(self, matched: Tensor, boxes: Tensor, gt: GroundTruth, losses: Losses = None) -> tuple[Tensor, Tensor]:
        key, positive = torch.rand(matched.shape, device=matched.device), matched >= 0
        rank = rank_within(matched, key)
        num_objects = (positive & (rank == 0)).sum(dim=1, keepdim=True).clamp(min=1)
        of_each = (int(self.num * self.pos_fraction) / num_objects).round() + 1
        return prefer(positive & (rank < of_each), key), key


@TASK_UTILS.register_module()
class IoUBalancedNegSampler(RandomSampler):
    """Takes as many negatives of each range of IoU with the nearest object, as far as there are.

    Args:
        floor_thr: IoUs below it are no part of the ranges; 0 and less: IoUs of 0 are none, as in mmdetection 3.3.
        floor_fraction: share of the negatives that come from below floor_thr.
        num_bins: ranges between floor_thr and the greatest IoU.
        others: as RandomSampler's.

    Source: Libra R-CNN (arXiv 1904.02701) section 3.1; mmdetection 3.3's IoUBalancedNegSampler.
    """

    def __init__(self, num: int, pos_fraction: float, floor_thr: float = -1, floor_fraction: float = 0,
                 num_bins: int = 3, **kwargs: Any):
        super().__init__(num, pos_fraction, **kwargs)
        if num_bins < 1 or not 0 <= floor_fraction <= 1:
            raise UserError(f'IoUBalancedNegSampler: num_bins={num_bins} must be at least 1 and '
                            f'floor_fraction={floor_fraction} from 0 to 1')
        self.floor_thr, self.floor_fraction, self.num_bins = max(floor_thr, 0.), floor_fraction, num_bins

    def keys(self, matched: Tensor, boxes: Tensor, gt: GroundTruth, losses: Losses = None) -> tuple[Tensor, Tensor]:
        key, negative = torch.rand(matched.shape, device=matched.device), matched == BACKGROUND
        iou = (box_iou(gt.boxes, boxes) * gt.valid[..., None]).amax(dim=1)
        num_positive = (matched >= 0).sum(dim=1, keepdim=True).clamp(max=int(self.num * self.pos_fraction))
        needed = self.num - num_positive
        high = negative & ((iou >= self.floor_thr) if self.floor_thr else (iou > 0))
        needed_high = (needed * (1 - self.floor_fraction)).floor()
        width = (iou.amax(dim=1, keepdim=True) - self.floor_thr) / self.num_bins
        bin_of = torch.where(high, ((iou - self.floor_thr) / width).floor().clamp(0, self.num_bins - 1), -1).long()
        balanced = high & (rank_within(bin_of, key) < (needed_high / self.num_bins).floor())
        high = high & (rank_within(high.long(), key + balanced) < needed_high)
        low = negative & (iou < self.floor_thr if self.floor_thr else iou == 0)
        low = low & (rank_within(low.long(), key) < needed - high.sum(dim=1, keepdim=True))
        return key, prefer(high | low, key)


@TASK_UTILS.register_module()
class CombinedSampler(RandomSampler):
    """Positives as one sampler takes them, negatives as another.

    Args:
        pos_sampler, neg_sampler: configs, which need no num and pos_fraction of their own.
        others: as RandomSampler's.
    """

    def __init__(self, num: int, pos_fraction: float, pos_sampler: dict, neg_sampler: dict, **kwargs: Any):
        super().__init__(num, pos_fraction, **kwargs)
        self.pos_sampler, self.neg_sampler = (
            TASK_UTILS.build(cfg, default_args=dict(num=num, pos_fraction=pos_fraction, **kwargs))
            for cfg in (pos_sampler, neg_sampler))

    def keys(self, matched: Tensor, boxes: Tensor, gt: GroundTruth, losses: Losses = None) -> tuple[Tensor, Tensor]:
        return (self.pos_sampler.keys(matched, boxes, gt, losses)[0],
                self.neg_sampler.keys(matched, boxes, gt, losses)[1])


def prefer(preferred: Tensor, key: Tensor) -> Tensor:
    """Keys in [0, 1), those of the `preferred` above all others, in the order of `key` (B, N) in [0, 1)."""
    return (key + preferred) / 2


def rank_within(group: Tensor, key: Tensor) -> Tensor:
    """int64 (B, N): how many boxes of the same `group`, whole numbers (B, N), have a greater `key`, in [0, 2)."""
    order = (2. * group.double() - key).argsort(dim=1)
    ordered = group.gather(1, order).contiguous()
    rank = torch.arange(group.shape[1], device=group.device) - torch.searchsorted(ordered, ordered)
    return torch.zeros_like(order).scatter(1, order, rank)
