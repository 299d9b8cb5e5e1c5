"""A backbone of a few convolutions."""
from mmengine.model import BaseModule
from torch import nn

from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS


@MODELS.register_module()
class SmallNet(BaseModule):
    """Images (B, 3, H, W) -> four maps of stride 4, 8, 16, 32 with channels, 2, 4 and 8 times `channels`."""

    def __init__(self, channels=16, norm_cfg=None, init_cfg=None):
        super().__init__(init_cfg)
        self.stem = ConvModule(3, channels, 3, stride=2, padding=1, norm_cfg=norm_cfg)
        widths = [channels, *(channels * 2 ** i for i in range(4))]
        self.stages = nn.ModuleList(
            nn.Sequential(ConvModule(before, width, 3, stride=2, padding=1, norm_cfg=norm_cfg),
                          ConvModule(width, width, 3, padding=1, norm_cfg=norm_cfg))
            for before, width in zip(widths, widths[1:]))

    def forward(self, x):
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
