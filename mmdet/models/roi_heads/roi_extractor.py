"""Features of fixed size from a feature pyramid, one level for each RoI.

Shapes: R RoIs, level l of stride featmap_strides[l].
"""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.ops import multiscale_roi_align
from mmdet.registry import MODELS


@MODELS.register_module()
class RoIAlign(nn.Module):
    """How a RoI is sampled; over all feature levels at once.

    Args:
        output_size: side, or (height, width), of the result.
        sampling_ratio: samples a bin and direction; 0: one for each feature pixel the bin spans.
        aligned: pixel centres lie at half-integers (False: the first releases' convention, shifted by half a pixel).

    Source: Mask R-CNN (arXiv 1703.06870) section 3.
    """

    def __init__(self, output_size: int | tuple[int, int], sampling_ratio: int = 0, aligned: bool = True,
                 pool_mode: str = 'avg'):
        super().__init__()
        if pool_mode != 'avg':
            raise UserError(f"roi_layer.pool_mode={pool_mode!r}: only 'avg' is defined here")
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, features: Sequence[Tensor], rois: Tensor, levels: Tensor,
                spatial_scales: Sequence[float]) -> Tensor:
        """Features (R, C, h, w) of `rois` (R, 5), each taken from the level that `levels` (R,) names."""
        return multiscale_roi_align(features, rois, levels, self.output_size, spatial_scales, self.sampling_ratio,
                                    self.aligned)


@MODELS.register_module()
class SingleRoIExtractor(BaseModule):
    """Each RoI reads the level that fits its size: l = floor(log2(sqrt(area) / finest_scale)), cut to the pyramid.

    Args:
        roi_layer: config of RoIAlign, or of a layer that learns, which each level then has for itself.
        out_channels: channels of the features.
        featmap_strides: strides of the levels used, finest first.
        finest_scale: RoIs of sides below twice this many pixels read the finest level.
        offset: 1 counts a RoI's width as x2 - x1 + 1, as Detectron does; 0 as x2 - x1.

    Source: Feature Pyramid Networks (arXiv 1612.03144) section 4.2, equation 1.
    """

    def __init__(self, roi_layer: dict, out_channels: int, featmap_strides: Sequence[int], finest_scale: float = 56,
                 offset: int = 0, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.roi_layers = nn.ModuleList([MODELS.build(roi_layer)])
        if next(self.parameters(), None) is not None:
            self.roi_layers.extend(MODELS.build(roi_layer) for _ in featmap_strides[1:])
        self.out_channels = out_channels
        self.spatial_scales = [1 / stride for stride in featmap_strides]
        self.finest_scale = finest_scale
        self.offset = offset

    @property
    def roi_layer(self) -> nn.Module:
        return self.roi_layers[0]

    def forward(self, features: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (R, out_channels, h, w) of `rois` (R, 5): image index, then xyxy pixels.

        roi_scale_factor: RoIs are made so many times as wide and high when they are read, at the level of their own.
        """
        features = features[:len(self.spatial_scales)]
        width, height = (rois[:, 3:] - rois[:, 1:3] + self.offset).clamp(min=0).unbind(1)
        side = (width * height).sqrt()
        levels = (side / self.finest_scale + 1e-6).log2().floor().clamp(0, len(features) - 1).long()
        if roi_scale_factor is not None:
            near, far = rois[:, 1:3], rois[:, 3:]
            centre, half = (near + far) / 2, (far - near) / 2 * roi_scale_factor
            rois = torch.cat([rois[:, :1], centre - half, centre + half], dim=1)
        out = self.roi_layers[0](features, rois, levels, self.spatial_scales)
        for level, layer in enumerate(self.roi_layers[1:], 1):  # type: ignore[arg-type]  # of nn.ModuleList's slices
            out = torch.where((levels == level).view(-1, 1, 1, 1), layer(features, rois, levels, self.spatial_scales),
                              out)
        return out
