"""Deformable RoI pooling (arXiv 1703.06211 section 2.2, 1811.11168): bins move to where the RoI's features say.

Shapes: R RoIs, h x w bins, C channels.
"""
from collections.abc import Sequence

import torch
from mmengine.model import constant_init
from torch import Tensor, nn

from mmdet.ops import multiscale_roi_align
from mmdet.registry import MODELS
from mmdet.structures.batch import to_device

STEP = 2 ** -8  # feature pixels, of the difference that is the slope by a bin's place


@MODELS.register_module()
class DeformRoIPoolPack(nn.Module):
    """RoIAlign whose bins are shifted, each by what linear layers read from the bins that are not. With mmcv's names.

    Args:
        output_size: side, or (height, width), in bins.
        output_channels: channels of the features.
        deform_fc_channels: width of the linear layers.
        sampling_ratio: samples a bin and direction; 0: one for each feature pixel the bin spans.
        gamma: an offset of 1 is this share of the RoI's width or height.
    """
    aligned = True

    def __init__(self, output_size: int | tuple[int, int], output_channels: int, deform_fc_channels: int = 1024,
                 sampling_ratio: int = 0, gamma: float = 0.1):
        super().__init__()
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else output_size
        self.sampling_ratio = sampling_ratio
        self.gamma = gamma
        bins, width = self.output_size[0] * self.output_size[1], deform_fc_channels
        self.offset_fc = nn.Sequential(nn.Linear(bins * output_channels, width), nn.ReLU(), nn.Linear(width, width),
                                       nn.ReLU(), nn.Linear(width, bins * 2))
        constant_init(self.offset_fc[-1], 0)  # so it begins as RoIAlign

    def forward(self, features: Sequence[Tensor], rois: Tensor, levels: Tensor,
                spatial_scales: Sequence[float]) -> Tensor:
        """Features (R, C, h, w) of `rois` (R, 5), each taken from the level that `levels` (R,) names."""
        straight = multiscale_roi_align(features, rois, levels, self.output_size, spatial_scales, self.sampling_ratio)
        return self.deform(straight.flatten(1), features, rois, levels, spatial_scales)

    def deform(self, straight: Tensor, features: Sequence[Tensor], rois: Tensor, levels: Tensor,
               spatial_scales: Sequence[float]) -> Tensor:
        """As forward, by the features (R, C * h * w) of the bins that are not shifted."""
        (rows, columns), (height, width) = self.output_size, (rois[:, 3:] - rois[:, 1:3]).flip(1).T[..., None, None]
        right, down = self.offset_fc(straight).float().view(-1, 2, rows, columns).unbind(1)
        y = rois[:, 2, None, None] + height * (torch.arange(rows, device=rois.device)[:, None] / rows
                                               + self.gamma * down)
        x = rois[:, 1, None, None] + width * (torch.arange(columns, device=rois.device) / columns
                                              + self.gamma * right)
        size_x, size_y = (width / columns).expand_as(x), (height / rows).expand_as(y)
        image = rois[:, 0, None, None].expand_as(x)
        levels = levels.repeat_interleave(rows * columns)

        def pool(x, y, maps):
            bins = torch.stack([image, x, y, x + size_x, y + size_y], dim=-1).view(-1, 5)
            return multiscale_roi_align(maps, bins, levels, 1, spatial_scales, self.sampling_ratio).flatten(1)
        out = pool(x.detach(), y.detach(), features)
        if torch.is_grad_enabled() and x.requires_grad:
            # RoIAlign has no gradient by its RoIs. What is added is 0, and its gradient is the slope.
            with torch.no_grad():
                maps = [feature.float() for feature in features]
                step = STEP / to_device([torch.tensor(spatial_scales)], x.device)[0][levels].view_as(x)
                slope_x = (pool(x + step, y, maps) - pool(x - step, y, maps)) / (2 * step.view(-1, 1))
                slope_y = (pool(x, y + step, maps) - pool(x, y - step, maps)) / (2 * step.view(-1, 1))
            out = out + ((x - x.detach()).view(-1, 1) * slope_x + (y - y.detach()).view(-1, 1) * slope_y).to(out.dtype)
        return out.view(len(rois), rows, columns, out.shape[1]).permute(0, 3, 1, 2)


@MODELS.register_module()
class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """DeformRoIPoolPack that also weighs each bin, 0 to 1."""

    def __init__(self, output_size: int | tuple[int, int], output_channels: int, deform_fc_channels: int = 1024,
                 sampling_ratio: int = 0, gamma: float = 0.1):
        super().__init__(output_size, output_channels, deform_fc_channels, sampling_ratio, gamma)
        bins = self.output_size[0] * self.output_size[1]
        self.mask_fc = nn.Sequential(nn.Linear(bins * output_channels, deform_fc_channels), nn.ReLU(),
                                     nn.Linear(deform_fc_channels, bins), nn.Sigmoid())
        constant_init(self.mask_fc[2], 0)

    def deform(self, straight: Tensor, features: Sequence[Tensor], rois: Tensor, levels: Tensor,
               spatial_scales: Sequence[float]) -> Tensor:
        mask = self.mask_fc(straight).view(-1, 1, *self.output_size)
        return super().deform(straight, features, rois, levels, spatial_scales) * mask
