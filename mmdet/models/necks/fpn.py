"""Feature Pyramid Network (arXiv 1612.03144).

Shapes: level l has stride 4 * 2^l; in (B, in_channels[l], H_l, W_l), out (B, out_channels, H_l, W_l).
"""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS


@MODELS.register_module()
class FPN(BaseModule):
    """Lateral 1x1 convolutions, top-down sums, 3x3 output convolutions, and extra levels on top.

    Args:
        in_channels: channels of each input level.
        out_channels: channels of every output level.
        num_outs: output levels; those beyond the inputs are the last one subsampled by 2 (max pooling with kernel 1),
            or strided convolutions with `add_extra_convs`.
        start_level, end_level: the input levels used, end_level inclusive; -1 is the last.
        add_extra_convs: False, True ('on_input'), 'on_input', 'on_lateral' or 'on_output': what the extra
            convolutions read.
        relu_before_extra_convs: ReLU between the extra convolutions.
        no_norm_on_lateral: `norm_cfg` skips the lateral convolutions.
        norm_cfg, act_cfg: norm and activation after each convolution.
        upsample_cfg: arguments of torch.nn.functional.interpolate.
    """
    bottom_up: Any = None  # what PAFPN does to the outputs before the extra levels

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outs: int, start_level: int = 0,
                 end_level: int = -1, add_extra_convs: bool | str = False, relu_before_extra_convs: bool = False,
                 no_norm_on_lateral: bool = False, conv_cfg: dict | None = None, norm_cfg: dict | None = None,
                 act_cfg: dict | None = None, upsample_cfg: dict = dict(mode='nearest'),
                 init_cfg: dict | None = dict(type='Xavier', layer='Conv2d', distribution='uniform')):
        super().__init__(init_cfg)
        last = len(in_channels) - 1 if end_level in (-1, len(in_channels) - 1) else end_level
        self.used = range(start_level, last + 1)
        self.num_extra = num_outs - len(self.used)
        if self.num_extra < 0:
            raise UserError(f'neck.num_outs={num_outs} is less than the {len(self.used)} levels from '
                            f'start_level={start_level} to end_level={end_level}')
        if add_extra_convs not in (False, True, 'on_input', 'on_lateral', 'on_output'):
            raise UserError(f'neck.add_extra_convs={add_extra_convs!r} is none of False, True, '
                            "'on_input', 'on_lateral', 'on_output'")
        self.extra_source = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)

        def conv(channels, kernel_size, norm=norm_cfg, **kwargs):
            return ConvModule(channels, out_channels, kernel_size, conv_cfg=conv_cfg, norm_cfg=norm, act_cfg=act_cfg,
                              inplace=False, **kwargs)
        self.lateral_convs = nn.ModuleList(
            conv(in_channels[level], 1, None if no_norm_on_lateral else norm_cfg) for level in self.used)
        self.fpn_convs = nn.ModuleList(conv(out_channels, 3, padding=1) for _ in self.used)
        if self.extra_source:
            for i in range(self.num_extra):
                channels = in_channels[last] if i == 0 and self.extra_source == 'on_input' else out_channels
                self.fpn_convs.append(conv(channels, 3, stride=2, padding=1))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Feature maps of the backbone -> tuple of num_outs maps, finest first."""
        laterals, outs = [], []
        for level, conv in zip(self.used, self.lateral_convs):
            laterals.append(conv(inputs[level]))
        for i in range(len(laterals) - 1, 0, -1):
            x = laterals[i - 1]
            size = {} if 'scale_factor' in self.upsample_cfg else dict(size=x.shape[2:])
            with torch.autocast(x.device.type, enabled=False):  # which would make the largest maps float32
                laterals[i - 1] = x + F.interpolate(laterals[i], **size, **self.upsample_cfg)
        for lateral, conv in zip(laterals, self.fpn_convs):
            outs.append(conv(lateral))
        if self.bottom_up is not None:
            outs = self.bottom_up(outs)
        if self.extra_source:
            x = dict(on_input=inputs[self.used[-1]], on_lateral=laterals[-1], on_output=outs[-1])[self.extra_source]
            for i, conv in enumerate(self.fpn_convs[len(laterals):]):
                x = conv(x.relu() if i and self.relu_before_extra_convs else x)
                outs.append(x)
        else:
            for _ in range(self.num_extra):
                outs.append(outs[-1][:, :, ::2, ::2])
        return tuple(outs)
