"""Region Proposal Network (arXiv 1506.01497).

Shapes: B images, A anchors of all levels (an anchor's level, row, column and kind, in this order), R sampled anchors
and P proposals of an image.
"""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.models.layers import Conv2d, ConvModule, conv_norm
from mmdet.models.losses import build_box_loss
from mmdet.ops import nms_images
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample, GroundTruth, pack_image_sizes


@MODELS.register_module()
class RPNHead(BaseModule):
    """Objectness and box of every anchor, their losses, and the proposals they give.

    Args:
        in_channels, feat_channels: channels of the features and of the head's convolution.
        num_convs: 3x3 convolutions before the two outputs.
        anchor_generator, bbox_coder, loss_cls, loss_bbox: configs of the parts.
        reg_decoded_bbox: loss_bbox compares boxes in pixels instead of offsets, as losses of IoU need it.
        train_cfg: assigner, sampler, allowed_border (pixels an anchor may leave the image; negative: any) and
            pos_weight (loss weight of positives; not positive: 1).
        test_cfg: how proposals are chosen, see `proposals`.
    """

    def __init__(self, in_channels: int, feat_channels: int = 256, num_classes: int = 1, num_convs: int = 1,
                 anchor_generator: dict = dict(type='AnchorGenerator', scales=[8],
                                             ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
                 bbox_coder: dict = dict(type='DeltaXYWHBBoxCoder'),
                 loss_cls: dict = dict(type='CrossEntropyLoss', use_sigmoid=True),
                 loss_bbox: dict = dict(type='L1Loss'), reg_decoded_bbox: bool = False,
                 train_cfg: dict | None = None, test_cfg: dict | None = None,
                 init_cfg: dict | None = dict(type='Normal', layer='Conv2d', std=0.01)):
        super().__init__(init_cfg)
        if num_classes != 1 or not loss_cls.get('use_sigmoid'):
            raise UserError('rpn_head separates objects from background with one logit: num_classes must be 1 and '
                            'loss_cls.use_sigmoid True')
        self.anchor_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.reg_decoded_bbox = reg_decoded_bbox
        self.loss_bbox = build_box_loss(loss_bbox, reg_decoded_bbox, 'rpn_head')
        self.test_cfg: Any = test_cfg
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(train_cfg['sampler'])
            self.allowed_border = train_cfg.get('allowed_border', -1)
            self.pos_weight = train_cfg.get('pos_weight', -1)
        self.rpn_conv: nn.Module
        if num_convs == 1:
            self.rpn_conv = Conv2d(in_channels, feat_channels, 3, padding=1)
        else:
            self.rpn_conv = nn.Sequential(*(ConvModule(feat_channels if i else in_channels, feat_channels, 3,
                                                       padding=1, inplace=False) for i in range(num_convs)))
        num_anchors = self.anchor_generator.num_base_anchors
        self.rpn_cls = nn.Conv2d(feat_channels, num_anchors, 1)
        self.rpn_reg = nn.Conv2d(feat_channels, num_anchors * 4, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps -> for each level, logits (B, A_l) and deltas (B, A_l, 4)."""
        logits, deltas = [], []
        for x in features:
            several = isinstance(self.rpn_conv, nn.Sequential)  # of convolutions, each with its ReLU
            x = self.rpn_conv(x) if several else conv_norm(x, self.rpn_conv, None, relu=True)
            logits.append(self.rpn_cls(x).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.rpn_reg(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4))
        return logits, deltas

    def loss(self, logits: list[Tensor], deltas: list[Tensor], feature_sizes: Sequence[tuple[int, int]],
             gt: GroundTruth) -> dict[str, Tensor]:
        """dict of `loss_rpn_cls` and `loss_rpn_bbox` for the outputs of forward and GroundTruth `gt`."""
        logit, delta = torch.cat(logits, 1), torch.cat(deltas, 1)
        anchors = self.anchor_generator(feature_sizes, logit.device)
        valid = self.anchor_generator.valid(feature_sizes, gt.padded_sizes)
        if self.allowed_border >= 0:
            limit = gt.image_sizes.flip(1)[:, None] + self.allowed_border
            valid = valid & (anchors[:, :2] >= -self.allowed_border).all(-1) & (anchors[:, 2:] < limit).all(-1)
        matched = self.assigner(anchors[None], gt, valid)
        sample = self.sampler(matched, anchors[None], gt)
        num_positive = sample.positive.sum(1)
        avg_factor = (num_positive.clamp(min=1) + (sample.valid.sum(1) - num_positive).clamp(min=1)).sum()

        weight = sample.valid.float()
        if self.pos_weight > 0:
            weight = torch.where(sample.positive, self.pos_weight, weight)
        loss_cls = self.loss_cls(logit.gather(1, sample.index).reshape(-1, 1), (~sample.positive).long().flatten(),
                                 weight.flatten(), avg_factor)

        index = sample.index[:, :sample.max_positive, None]
        objects = matched.gather(1, index[..., 0]).clamp(min=0)[..., None].expand(-1, -1, 4)
        pred, boxes, target = (delta.gather(1, index.expand(-1, -1, 4)), anchors[index[..., 0]],
                               gt.boxes.gather(1, objects))
        if self.reg_decoded_bbox:
            pred = self.bbox_coder.decode(boxes, pred)
        else:
            target = self.bbox_coder.encode(boxes, target)
        loss_bbox = self.loss_bbox(pred, target, sample.positive[:, :sample.max_positive, None], avg_factor)
        return dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)

    @torch.no_grad()
    def proposals(self, logits: Sequence[Tensor], deltas: Sequence[Tensor], feature_sizes: Sequence[tuple[int, int]],
                  image_sizes: Tensor, cfg: dict | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Best boxes of each image after NMS within each level.

        Args:
            image_sizes: (B, 2) height and width in pixels.
            cfg: nms_pre (boxes kept of each level), nms (iou_threshold, offset), max_per_img, min_bbox_size (pixels);
                test_cfg unless given.

        Returns:
            boxes float32 (B, P, 4) xyxy pixels, scores float32 (B, P) in [0, 1], valid bool (B, P); best first.
        """
        if cfg is None:
            cfg = self.test_cfg
        anchors = self.anchor_generator(feature_sizes, logits[0].device)
        start, parts = 0, []
        for level, (logit, delta) in enumerate(zip(logits, deltas)):
            keep = logit.shape[1] if cfg.get('nms_pre', -1) <= 0 else torch.sym_min(cfg['nms_pre'], logit.shape[1])
            logit, index = logit.float().topk(keep, dim=1)
            parts.append((logit, anchors[start + index], delta.gather(1, index[..., None].expand(-1, -1, 4)),
                          torch.full_like(index, level)))
            start += delta.shape[1]
        logit, anchor, delta, levels = (torch.cat(part, 1) for part in zip(*parts))
        boxes = self.bbox_coder.decode(anchor, delta, image_sizes[:, None])
        scores = logit.sigmoid()
        if cfg.get('min_bbox_size', -1) >= 0:
            large = (boxes[..., 2:] - boxes[..., :2] > cfg['min_bbox_size']).all(-1)
            scores = torch.where(large, scores, -torch.inf)
        keep = nms_images(boxes, scores, levels, cfg['nms']['iou_threshold'],
                          torch.sym_min(cfg['max_per_img'], scores.shape[1]), cfg['nms'].get('offset', 0))
        valid, keep = keep >= 0, keep.clamp(min=0)
        boxes = boxes.gather(1, keep[..., None].expand(-1, -1, 4)) * valid[..., None]
        return boxes, scores.gather(1, keep) * valid, valid

    def predict(self, features: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample],
                rescale: bool = False) -> list[InstanceData]:
        """mmdetection's call: for each image bboxes (P, 4) in the resized image, scores and labels, all 0."""
        logits, deltas = self(features)
        return self._as_list(features, logits, deltas, batch_data_samples, self.test_cfg)

    def loss_and_predict(self, features: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample],
                         proposal_cfg: dict | None = None) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """mmdetection's call: `loss` of the objects of the samples, and what `predict` gives, by `proposal_cfg`."""
        logits, deltas = self(features)
        gt = GroundTruth.from_samples(list(batch_data_samples), features[0].device)
        sizes = [(x.shape[2], x.shape[3]) for x in features]
        losses = self.loss(logits, deltas, sizes, gt)
        return losses, self._as_list(features, logits, deltas, batch_data_samples, proposal_cfg)

    def _as_list(self, features, logits, deltas, samples, cfg):
        sizes = pack_image_sizes(samples, features[0].device)
        found = self.proposals(logits, deltas, [tuple(x.shape[2:]) for x in features], sizes, cfg)
        return [InstanceData(bboxes=boxes[valid], scores=scores[valid], labels=valid.new_zeros(valid.sum()).long())
                for boxes, scores, valid in zip(*found)]
