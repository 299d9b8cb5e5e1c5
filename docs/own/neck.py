"""A neck that gives every level the same channels, without a path from the top down."""
from mmengine.model import BaseModule
from torch import nn

from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS


@MODELS.register_module()
class PlainNeck(BaseModule):
    """Four maps of `in_channels` -> five of `out_channels`; the fifth has half the size of the fourth."""

    def __init__(self, in_channels, out_channels, norm_cfg=None, init_cfg=None):
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg) for channels in in_channels)

    def forward(self, maps):
        maps = [conv(x) for conv, x in zip(self.convs, maps)]
        return *maps, maps[-1][:, :, ::2, ::2]
