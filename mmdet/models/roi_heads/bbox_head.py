"""Class and box of each RoI.

Shapes: R RoIs, Q rows of positives among them, K classes (label K is background).
"""
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.models.layers import ConvModule
from mmdet.models.losses import accuracy, build_box_loss
from mmdet.ops import batched_nms, linear_rois, soft_nms
from mmdet.registry import MODELS, TASK_UTILS


class RoILinear(nn.Linear):
    """torch.nn.Linear on RoI features that need not be flattened; its arguments are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, h, w) or (R, C) -> (R, out_features)."""
        return linear_rois(x, self.weight, self.bias)


@MODELS.register_module()
class ConvFCBBoxHead(BaseModule):
    """Convolutions and fully connected layers, shared and then one branch each, before the class and box outputs.

    Args:
        num_shared_convs, num_shared_fcs, num_cls_convs, num_cls_fcs, num_reg_convs, num_reg_fcs: layers of each part.
        in_channels, roi_feat_size: channels and side of the RoI features.
        conv_out_channels, fc_out_channels: width of the layers.
        with_avg_pool: the mean of the RoI's features goes on, not all of them, where convolutions end.
        num_classes: K.
        reg_class_agnostic: one box a RoI instead of one a class.
        reg_decoded_bbox: loss_bbox compares boxes in pixels instead of offsets, as losses of IoU need it.
        norm_cfg: norm after each convolution.
        bbox_coder, loss_cls, loss_bbox: configs of the parts.
    """

    def __init__(self, num_shared_convs: int = 0, num_shared_fcs: int = 0, num_cls_convs: int = 0, num_cls_fcs: int = 0,
                 num_reg_convs: int = 0, num_reg_fcs: int = 0, in_channels: int = 256, roi_feat_size: int = 7,
                 conv_out_channels: int = 256, fc_out_channels: int = 1024, with_avg_pool: bool = False,
                 num_classes: int = 80,
                 reg_class_agnostic: bool = False, reg_decoded_bbox: bool = False,
                 bbox_coder: dict = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                 loss_cls: dict = dict(type='CrossEntropyLoss'),
                 loss_bbox: dict = dict(type='SmoothL1Loss'),
                 conv_cfg: dict | None = None, norm_cfg: dict | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.reg_class_agnostic = reg_class_agnostic
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.reg_decoded_bbox = reg_decoded_bbox
        self.loss_bbox = build_box_loss(loss_bbox, reg_decoded_bbox, 'bbox_head')

        def convs(num, channels):
            return nn.ModuleList(ConvModule(conv_out_channels if i else channels, conv_out_channels, 3, padding=1,
                                            conv_cfg=conv_cfg, norm_cfg=norm_cfg) for i in range(num))

        def fcs(num, channels):
            return nn.ModuleList(RoILinear(fc_out_channels if i else channels, fc_out_channels) for i in range(num))
        self.with_avg_pool = with_avg_pool
        area = 1 if with_avg_pool else roi_feat_size ** 2
        self.shared_convs = convs(num_shared_convs, in_channels)
        channels = conv_out_channels if num_shared_convs else in_channels
        self.shared_fcs = fcs(num_shared_fcs, channels * area)
        self.flatten = num_shared_fcs > 0
        if self.flatten and (num_cls_convs or num_reg_convs):
            raise UserError('bbox_head: convolutions of a branch cannot follow num_shared_fcs '
                            f'(num_cls_convs={num_cls_convs}, num_reg_convs={num_reg_convs})')
        width = fc_out_channels if num_shared_fcs else channels
        outputs = []
        for name, num_convs, num_fcs in (('cls', num_cls_convs, num_cls_fcs), ('reg', num_reg_convs, num_reg_fcs)):
            self.add_module(f'{name}_convs', convs(num_convs, width))
            flat = width if self.flatten else (conv_out_channels if num_convs else width) * area
            self.add_module(f'{name}_fcs', fcs(num_fcs, flat))
            outputs.append(fc_out_channels if num_fcs else flat)
        self.fc_cls = RoILinear(outputs[0], num_classes + 1)
        self.fc_reg = RoILinear(outputs[1], 4 if reg_class_agnostic else 4 * num_classes)

    def init_weights(self) -> None:
        """Outputs normal (0.01 and 0.001), other fully connected layers Xavier uniform, or what init_cfg says."""
        super().init_weights()
        if self.init_cfg:
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if module is self.fc_cls or module is self.fc_reg:
                    nn.init.normal_(module.weight, std=0.01 if module is self.fc_cls else 0.001)
                else:
                    nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """RoI features (R, C, h, w) -> class logits (R, K + 1), deltas (R, 4 K), or (R, 4) when class agnostic.

        rows: bool (R,), those that are no padding; None: all.
        """
        for conv in self.shared_convs:
            x = conv(x, rows)
        if self.flatten and self.with_avg_pool:
            x = x.mean((2, 3))
        for fc in self.shared_fcs:
            x = fc(x).relu()
        cls = self._branch(x, self.cls_convs, self.cls_fcs, rows)
        reg = self._branch(x, self.reg_convs, self.reg_fcs, rows)
        return self.fc_cls(cls), self.fc_reg(reg)

    def _branch(self, x, convs, fcs, rows):
        for conv in convs:
            x = conv(x, rows)
        if x.dim() > 2 and self.with_avg_pool:
            x = x.mean((2, 3))
        for fc in fcs:
            x = fc(x).relu()
        return x

    def loss(self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, labels: Tensor, gt_boxes: Tensor, weight: Tensor,
             positive: Tensor) -> dict[str, Tensor]:
        """dict of `loss_cls`, `loss_bbox` and `acc` (percent).

        Args:
            cls_score, bbox_pred: outputs of forward.
            rois: (R, 5). labels: int64 (R,), K for background.
            gt_boxes: (Q, 4) the boxes that the positives should reach, xyxy pixels.
            weight: float32 (R,), 0 for padding rows.
            positive: int64 (Q,) rows that may be positive; those labelled K are padding.
        """
        num_rows = weight.sum().clamp(min=1)
        losses = dict(loss_cls=self.loss_cls(cls_score, labels, weight, num_rows),
                      acc=accuracy(cls_score, labels, weight))
        label = labels[positive]
        foreground = (label < self.num_classes).float()
        pred, boxes = self._of_class(bbox_pred, positive, label), rois[positive, 1:]
        if self.reg_decoded_bbox:
            pred, target = self.bbox_coder.decode(boxes, pred), gt_boxes
        else:
            target = self.bbox_coder.encode(boxes, gt_boxes)
        losses['loss_bbox'] = self.loss_bbox(pred, target, foreground[:, None], num_rows)
        return losses

    def _of_class(self, bbox_pred, row, label):
        """Deltas (Q, 4) for class `label` (Q,) of the rows `row` (Q,)."""
        label = torch.zeros_like(label) if self.reg_class_agnostic else label.clamp(max=self.num_classes - 1)
        return bbox_pred.unflatten(1, (-1, 4))[row, label]

    def refine(self, rois: Tensor, labels: Tensor, bbox_pred: Tensor, image_sizes: Tensor) -> Tensor:
        """Boxes (R, 4) that the deltas of the classes `labels` (R,) make of `rois` (R, 5).

        Args:
            bbox_pred: output of forward. image_sizes: (B, 2) height and width in pixels.
        """
        row = torch.arange(len(rois), device=rois.device)
        return self.bbox_coder.decode(rois[:, 1:], self._of_class(bbox_pred, row, labels),
                                      image_sizes[rois[:, 0].long()])

    def predict(self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, image_sizes: Tensor,
                cfg: dict) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Detections of all images: decode, threshold, NMS within each class, best `max_per_img` of each image.

        Args:
            image_sizes: (B, 2) height and width in pixels.
            cfg: score_thr, nms (iou_threshold, class_agnostic, offset), max_per_img (negative: all).

        Returns:
            list of B tuples: boxes (D, 4) xyxy pixels, scores (D,), labels int64 (D,), best first.
        """
        scores = cls_score.float().softmax(dim=1)[:, :-1]
        row, labels = (scores > cfg['score_thr']).nonzero(as_tuple=True)
        scores, rois = scores[row, labels], rois[row]
        images = rois[:, 0].long()
        boxes = self.bbox_coder.decode(rois[:, 1:], self._of_class(bbox_pred, row, labels), image_sizes[images])
        nms = cfg['nms']
        groups = images if nms.get('class_agnostic') else images * self.num_classes + labels
        limit = cfg['max_per_img'] if cfg['max_per_img'] >= 0 else len(scores)
        if nms.get('type', 'nms') == 'nms':
            keep = batched_nms(boxes, scores, groups, nms['iou_threshold'], nms.get('offset', 0))
        elif nms['type'] == 'soft_nms':
            options = {key: nms[key] for key in ('iou_threshold', 'sigma', 'min_score', 'method') if key in nms}
            if options.get('method', 'linear') not in ('linear', 'gaussian', 'naive'):
                raise UserError(f"test_cfg.rcnn.nms.method={options['method']!r} is not linear, gaussian or naive")
            own = [(images == i).nonzero()[:, 0] for i in range(len(image_sizes))]
            kept = [soft_nms(boxes[rows], scores[rows], groups[rows], limit, **options) for rows in own]
            keep = torch.cat([rows[index] for rows, (index, _) in zip(own, kept)])
            scores = scores.index_copy(0, keep, torch.cat([lowered for _, lowered in kept]))
        else:
            raise UserError(f"test_cfg.rcnn.nms.type={nms['type']!r}: only 'nms' and 'soft_nms' are defined here")
        images = images[keep]
        return [(boxes[best], scores[best], labels[best])
                for best in (keep[images == i][:limit] for i in range(len(image_sizes)))]


@MODELS.register_module()
class BBoxHead(ConvFCBBoxHead):
    """No layers of its own: class and box straight from the features, as after a shared_head."""


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared fully connected layers: the head of FPN (arXiv 1612.03144)."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs: Any):
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one fully connected layer: the head of GN (arXiv 1803.08494) section 4.2."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs: Any):
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
