"""Dynamic R-CNN (arXiv 2004.06002): the IoU threshold rises, and SmoothL1's beta falls, as the proposals get better.

Shapes: as standard_roi_head.py.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import UserError
from mmdet.models.losses import SmoothL1Loss
from mmdet.registry import MODELS
from mmdet.structures import GroundTruth, box_iou

from .roi_sample import RoISample
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class DynamicRoIHead(StandardRoIHead):
    """StandardRoIHead whose assigner and box loss follow what it saw in the last iterations.

    A training that is resumed begins with the thresholds of its config, as in mmdetection 3.3.

    Args:
        train_cfg: as StandardRoIHead's, and dynamic_rcnn: iou_topk and beta_topk (which of an image's greatest IoUs and
            smallest offsets count), update_iter_interval, initial_iou and initial_beta (bounds of the threshold from
            below, of beta from above).
    """

    def __init__(self, train_cfg: dict | None = None, **kwargs: Any):
        super().__init__(train_cfg=train_cfg, **kwargs)
        if not isinstance(self.bbox_head.loss_bbox, SmoothL1Loss):
            raise UserError('DynamicRoIHead needs roi_head.bbox_head.loss_bbox.type=SmoothL1Loss, to change its beta')
        self.cfg: Any = train_cfg and train_cfg['dynamic_rcnn']
        self.ious: list[Tensor] = []
        self.betas: list[Tensor] = []

    def sample(self, features: Sequence[Tensor], proposals: Tensor, valid: Tensor, gt: GroundTruth) -> RoISample:
        """As StandardRoIHead's; in training remembers IoUs and offsets, both on the device."""
        sample = super().sample(features, proposals, valid, gt)
        if not self.training:
            return sample
        iou = (box_iou(gt.boxes, proposals) * gt.valid[..., None]).amax(dim=1).masked_fill(~valid, 0)
        if self.sampler.add_gt_as_proposals:
            iou = torch.cat([gt.valid.float(), iou], dim=1)
        self.ious.append(iou.topk(min(self.cfg['iou_topk'], iou.shape[1]), dim=1).values[:, -1].mean())
        positive = sample.foreground[sample.positive]
        target = self.bbox_head.bbox_coder.encode(sample.rois[sample.positive, 1:], sample.gt_boxes)
        size = target[:, :2].abs().mean(dim=1).masked_fill(~positive, torch.inf).sort().values
        place = positive.sum().clamp(max=self.cfg['beta_topk'] * len(proposals)) - 1
        none = size.new_full((1,), torch.nan)  # no positives
        self.betas.append(torch.cat([none, size]).index_select(0, (place + 1)[None])[0])
        return sample

    def loss(self, features: Sequence[Tensor], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """As StandardRoIHead's; every update_iter_interval calls the thresholds move, for which the host waits once."""
        losses = super().loss(features, *args, **kwargs)
        if len(self.ious) == self.cfg['update_iter_interval']:
            threshold = max(self.cfg['initial_iou'], torch.stack(self.ious).mean().item())
            self.assigner.pos_iou_thr = self.assigner.min_pos_iou = threshold
            self.assigner.neg_iou_range = 0., threshold
            beta = torch.stack(self.betas).nanquantile(0.5).item()
            if beta > 1e-15:  # neither NaN nor too small to divide by
                self.bbox_head.loss_bbox.beta = min(self.cfg['initial_beta'], beta)
            self.ious, self.betas = [], []
        return losses
