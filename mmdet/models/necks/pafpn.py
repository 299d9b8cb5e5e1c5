"""Path Aggregation Network's neck (arXiv 1803.01534): an FPN and a second path from its finest level up.

Shapes: FPN's.
"""
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS

from .fpn import FPN


@MODELS.register_module()
class PAFPN(FPN):
    """FPN, whose outputs each also get the next finer one's, through a convolution of stride 2, and one more of 3x3.

    Args: FPN's.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outs: int, conv_cfg: dict | None = None,
                 norm_cfg: dict | None = None, act_cfg: dict | None = None, **kwargs: Any):
        options: Any = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(in_channels, out_channels, num_outs, **options, **kwargs)

        def convs(stride):
            return nn.ModuleList(ConvModule(out_channels, out_channels, 3, stride, 1, inplace=False, **options)
                                 for _ in self.used[1:])
        self.downsample_convs = convs(2)
        self.pafpn_convs = convs(1)

    def bottom_up(self, outs: list[Tensor]) -> list[Tensor]:
        for i, down in enumerate(self.downsample_convs, 1):
            outs[i] = outs[i] + down(outs[i - 1])
        return outs[:1] + [conv(out) for conv, out in zip(self.pafpn_convs, outs[1:])]
