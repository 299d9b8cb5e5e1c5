"""Double-Head R-CNN (arXiv 1904.06493): classes by fully connected layers, boxes by convolutions.

Shapes: Q RoIs, K classes.
"""
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmdet.models.backbones.resnet import BN, Bottleneck
from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS

from .bbox_head import ConvFCBBoxHead, RoILinear
from .standard_roi_head import StandardRoIHead


class WideningBlock(nn.Module):
    """3x3 and 1x1 convolution beside a 1x1 shortcut: (Q, in_channels, h, w) -> (Q, out_channels, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict):
        super().__init__()
        self.conv1 = ConvModule(in_channels, in_channels, 3, padding=1, norm_cfg=norm_cfg)
        self.conv2 = ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.conv_identity = ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        return (self.conv2(self.conv1(x, rows), rows) + self.conv_identity(x, rows)).relu()


@MODELS.register_module()
class DoubleConvFCBBoxHead(ConvFCBBoxHead):
    """Fully connected layers and the class; a widening block, bottlenecks, the mean over the RoI and the box.

    Args:
        num_convs, num_fcs: bottlenecks; fully connected layers.
        conv_out_channels, fc_out_channels: width of both branches.
        norm_cfg: norm after each convolution.
        others: as ConvFCBBoxHead's.
    """

    def __init__(self, num_convs: int, num_fcs: int, in_channels: int = 256, roi_feat_size: int = 7,
                 conv_out_channels: int = 1024, fc_out_channels: int = 1024, with_avg_pool: bool = True,
                 conv_cfg: dict | None = None, norm_cfg: dict = BN, **kwargs: Any):
        super().__init__(in_channels=in_channels, roi_feat_size=roi_feat_size, with_avg_pool=True, **kwargs)
        self.res_block = WideningBlock(in_channels, conv_out_channels, norm_cfg)
        self.conv_branch = nn.ModuleList(
            Bottleneck(conv_out_channels, conv_out_channels // 4, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for _ in range(num_convs))
        self.fc_branch = nn.ModuleList(RoILinear(fc_out_channels if i else in_channels * roi_feat_size ** 2,
                                                 fc_out_channels) for i in range(num_fcs))
        self.fc_cls = RoILinear(fc_out_channels, self.fc_cls.out_features)
        self.fc_reg = RoILinear(conv_out_channels, self.fc_reg.out_features)

    def forward(self, x: tuple[Tensor, Tensor],  # type: ignore[override]  # of its own RoI head
                rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """RoI features for the class and for the box, (Q, C, h, w) each; else as ConvFCBBoxHead's."""
        cls, reg = x
        reg = self.res_block(reg, rows)
        for conv in self.conv_branch:
            reg = conv(reg, rows)
        for fc in self.fc_branch:
            cls = fc(cls).relu()
        return self.fc_cls(cls), self.fc_reg(reg.mean((2, 3)))


@MODELS.register_module()
class DoubleHeadRoIHead(StandardRoIHead):
    """Gives its box head the features of each RoI, and those of the RoI made `reg_roi_scale_factor` times as large."""

    def __init__(self, reg_roi_scale_factor: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor,
                    rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        x = self.bbox_roi_extractor(features, rois)
        wide = self.bbox_roi_extractor(features, rois, self.reg_roi_scale_factor)
        return *self.bbox_head((x, wide), rows), x
