"""Which ground-truth object each box stands for, and which boxes the losses see.

Shapes: B images, N boxes of an image, G most ground-truth objects of an image, R sampled boxes of an image.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmdet.ops import match_boxes
from mmdet.ops.boxes import BACKGROUND, IGNORED
from mmdet.registry import TASK_UTILS
from mmdet.structures import GroundTruth

__all__ = ['BACKGROUND', 'IGNORED', 'MaxIoUAssigner', 'RandomSampler', 'Sample']


@TASK_UTILS.register_module()
class MaxIoUAssigner:
    """A box belongs to the object it overlaps most, if it overlaps enough.

    Args:
        pos_iou_thr: at least this IoU makes a box positive.
        neg_iou_thr: below this IoU a box is background; a pair (low, high) is the half-open range that is background.
        min_pos_iou: least IoU at which an object claims its best box in `match_low_quality`.
        match_low_quality: every object also claims the boxes that overlap it most, later objects before earlier ones.
        gt_max_assign_all: an object claims all its equally best boxes, not only the first.
        ignore_iof_thr: boxes whose intersection over own area with an ignored box exceeds this are left out; negative:
            none are.
        ignore_wrt_candidates: the area is the box's own, not the ignored one's.
        gpu_assign_thr: accepted and not needed: memory is bounded for any number of objects.

    Source: Faster R-CNN (arXiv 1506.01497) section 3.1.2; order of the rules as in mmdetection 3.3's MaxIoUAssigner.
    """

    def __init__(self, pos_iou_thr: float, neg_iou_thr: float | tuple[float, float], min_pos_iou: float = 0.,
                 gt_max_assign_all: bool = True, ignore_iof_thr: float = -1, ignore_wrt_candidates: bool = True,
                 match_low_quality: bool = True, gpu_assign_thr: int = -1):
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_range = tuple(neg_iou_thr) if isinstance(neg_iou_thr, (tuple, list)) else (0., neg_iou_thr)
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.match_low_quality = match_low_quality

    def __call__(self, boxes: Tensor, gt: GroundTruth, valid: Tensor | None = None) -> Tensor:
        """int64 (B, N): index of the object in `gt`, or BACKGROUND, or IGNORED.

        Args:
            boxes: (B, N, 4), or (1, N, 4) where all images share them; xyxy pixels.
            gt: GroundTruth.
            valid: bool (B, N); False rows are IGNORED and claim nothing.
        """
        return match_boxes(boxes, gt.boxes, gt.valid, gt.ignored, valid, self.pos_iou_thr, self.neg_iou_range,
                           self.min_pos_iou, self.match_low_quality, self.gt_max_assign_all, self.ignore_iof_thr,
                           self.ignore_wrt_candidates)


class Sample(NamedTuple):
    """Positives come first; rows an image could not fill are False in `valid`."""
    index: Tensor     # type: ignore[assignment]  # (B, R) int64 into N; hides a tuple's method
    positive: Tensor  # (B, R) bool
    valid: Tensor     # (B, R) bool
    max_positive: int  # no positive lies at or behind this column


@TASK_UTILS.register_module()
class RandomSampler:
    """Draw at most `num` boxes an image, at most `pos_fraction` of them positive, uniformly without replacement.

    Args:
        neg_pos_ub: most negatives per positive (an image without positives counts as having one); negative: no bound.
        add_gt_as_proposals: the ground truth joins the boxes to sample from (done by the caller).
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True):
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    def keys(self, matched: Tensor, boxes: Any, gt: Any,
             losses: Callable[[], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Keys (B, N) in [0, 1) of the positives and of the negatives: of each the greatest are drawn."""
        key = torch.rand(matched.shape, device=matched.device)
        return key, key

    def __call__(self, matched: Tensor, boxes: Tensor | None = None, gt: GroundTruth | None = None,
                 losses: Callable[[], Tensor] | None = None) -> Sample:
        """Sample from `matched` (B, N), an assigner's result. Shapes depend on N and `num` alone.

        Args:
            boxes, gt: what was matched: (B, N, 4) or (1, N, 4) xyxy pixels, and GroundTruth; for samplers that ask.
            losses: gives the box head's class loss (B, N) of each box; None where there is no box head.
        """
        num_boxes = matched.shape[1]
        num, max_positive = min(self.num, num_boxes), min(int(self.num * self.pos_fraction), num_boxes)
        # Keys: chosen positives in [2, 3), negatives in [0, 1), the rest below; the greatest `num` are the sample.
        positive_key, key = self.keys(matched, boxes, gt, losses)
        positive_key, chosen = torch.where(matched >= 0, positive_key, -1.).topk(max_positive, dim=1)
        key = torch.where(matched == BACKGROUND, key, -1.)
        key.scatter_(1, chosen, torch.where(positive_key >= 0, positive_key + 2, key.gather(1, chosen)))
        key, index = key.topk(num, dim=1)
        positive, valid = key >= 2, key >= 0
        if self.neg_pos_ub >= 0:
            num_positive = positive.sum(dim=1, keepdim=True)
            last = num_positive + (self.neg_pos_ub * num_positive.clamp(min=1)).long()
            valid = valid & (torch.arange(num, device=key.device) < last)
        return Sample(index, positive, valid, min(max_positive, num))
