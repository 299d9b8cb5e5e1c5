"""Mask of each RoI.

Shapes: Q RoIs, K classes; features (Q, C, 14, 14) -> masks of 28 x 28.
"""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.models.layers import ConvModule
from mmdet.ops import crop_masks, map_rows
from mmdet.registry import MODELS
from mmdet.structures import GroundTruth


@MODELS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, upsampling by 2, and one mask a class.

    Args:
        num_convs, in_channels, conv_kernel_size, conv_out_channels: of the convolutions.
        num_classes: K.
        class_agnostic: one mask a RoI instead of one a class.
        upsample_cfg: type 'deconv', 'nearest', 'bilinear' or None, and scale_factor.
        norm_cfg: norm after each convolution.
        loss_mask: config of the loss.

    Source: Mask R-CNN (arXiv 1703.06870) figure 4, right.
    """

    def __init__(self, num_convs: int = 4, roi_feat_size: int = 14, in_channels: int = 256, conv_kernel_size: int = 3,
                 conv_out_channels: int = 256, num_classes: int = 80, class_agnostic: bool = False,
                 upsample_cfg: dict = dict(type='deconv', scale_factor=2),
                 conv_cfg: dict | None = None, norm_cfg: dict | None = None,
                 loss_mask: dict = dict(type='CrossEntropyLoss', use_mask=True),
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        kind, scale = upsample_cfg['type'], upsample_cfg.get('scale_factor', 2)
        if kind not in ('deconv', 'nearest', 'bilinear', None):
            raise UserError(f"mask_head.upsample_cfg.type={kind!r} is none of 'deconv', 'nearest', 'bilinear', None")
        self.class_agnostic = class_agnostic
        self.loss_mask = MODELS.build(loss_mask)
        self.convs = nn.ModuleList(
            ConvModule(conv_out_channels if i else in_channels, conv_out_channels, conv_kernel_size,
                       padding=conv_kernel_size // 2, conv_cfg=conv_cfg, norm_cfg=norm_cfg) for i in range(num_convs))
        channels = conv_out_channels if num_convs else in_channels
        self.upsample: nn.Module | None = None
        if kind == 'deconv':
            self.upsample = nn.ConvTranspose2d(channels, conv_out_channels, scale, scale)
            channels = conv_out_channels
        elif kind:
            self.upsample = nn.Upsample(scale_factor=scale, mode=kind)
        self.conv_logits = nn.Conv2d(channels, 1 if class_agnostic else num_classes, 1)

    def init_weights(self) -> None:
        """Kaiming normal upsampling and output."""
        super().init_weights()
        for module in (self.upsample, self.conv_logits):
            if isinstance(module, (nn.ConvTranspose2d, nn.Conv2d)):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # both have one

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """RoI features (Q, C, h, w) -> logits (Q, K, 2h, 2w), or (Q, 1, 2h, 2w) when class agnostic.

        rows: bool (Q,), those that are no padding; None: all.
        """
        for conv in self.convs:
            x = conv(x, rows)
        return self._logits(x)

    def _logits(self, x):
        if self.upsample is not None:
            x = self.upsample(x)
            if isinstance(self.upsample, nn.ConvTranspose2d):
                x = x.relu_()
        return self.conv_logits(x)

    def predict(self, x: Tensor, labels: Tensor) -> Tensor:
        """RoI features (Q, C, h, w), their classes int64 (Q,) -> mask probabilities float32 (Q, 2h, 2w)."""
        for conv in self.convs:
            x = conv(x)
        # The maps of all RoIs at twice the side would be the largest memory of a test by far.
        masks = map_rows(lambda x, labels: self.of_class(self._logits(x), labels), x, labels)
        return masks.float().sigmoid()

    def of_class(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (Q, h, w) of the class each row is labelled with; `labels` int64 (Q,)."""
        row = torch.arange(labels.shape[0], device=labels.device)
        return logits[row, torch.zeros_like(labels) if self.class_agnostic else labels]

    def loss(self, logits: Tensor, rois: Tensor, labels: Tensor, mask_rows: Tensor, weight: Tensor, gt: GroundTruth,
             batch_input_shape: tuple[int, int]) -> dict[str, Tensor]:
        """dict of `loss_mask`: cross entropy against each RoI's part of its object's mask.

        Args:
            logits: output of forward. rois: (Q, 5). labels: int64 (Q,) in [0, K).
            mask_rows: int64 (Q,) rows of `gt.masks`.
            weight: float32 (Q,), 0 for padding rows.
            batch_input_shape: (height, width) of the padded batch in pixels.
        """
        pixels, windows = gt.masks  # type: ignore[misc]  # not None where there is a mask head
        target = crop_masks(pixels, windows, rois[:, 1:], mask_rows, logits.shape[-1], *batch_input_shape) >= 0.5
        avg_factor = (weight.sum() * target[0].numel()).clamp(min=1) if len(target) else 1
        return dict(loss_mask=self.loss_mask(self.of_class(logits, labels), target, weight, avg_factor))
