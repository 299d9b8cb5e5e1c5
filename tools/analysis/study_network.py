"""A small residual network on several devices that share its weights, each with a norm of its own.

    D devices, N images on each, C channels: features are (N, D * C, H, W), device by device. Convolutions have D
    groups, so a norm's D * C channels are C channels on each of D devices, with their own statistics and history.

This is what D processes under DistributedDataParallel do, in one: every device begins a step with the same weights, and
their gradients are averaged.
"""
from torch import nn

from mmdet.models.layers import build_norm_layer, conv_norm

WIDTHS = (8, 16, 32, 32)  # of the four stages, whose maps have a quarter, ... of the picture's edge
BLOCKS = (1, 1, 2, 2)


class ConvNorm(nn.Module):
    """Convolution and norm of every device: (N, D * inside, H, W) -> (N, D * outside, H', W')."""

    def __init__(self, inside, outside, size, stride, norm_cfg, devices):
        super().__init__()
        self.conv = nn.Conv2d(inside * devices, outside * devices, size, stride, size // 2, groups=devices, bias=False)
        if norm_cfg['type'] == 'GN':
            norm_cfg = dict(norm_cfg, num_groups=norm_cfg['num_groups'] * devices)
        self.norm = build_norm_layer(norm_cfg, outside * devices)[1]
        nn.init.normal_(self.conv.weight, std=(2 / (outside * size * size)) ** 0.5)  # Kaiming, fan out

    def forward(self, x, residual=None, relu=True):
        return conv_norm(x, self.conv, self.norm, residual, relu)


class Block(nn.Module):
    def __init__(self, inside, outside, stride, *how):
        super().__init__()
        self.first = ConvNorm(inside, outside, 3, stride, *how)
        self.second = ConvNorm(outside, outside, 3, 1, *how)
        self.shortcut = ConvNorm(inside, outside, 1, stride, *how) if stride > 1 or inside != outside else None

    def forward(self, x):
        shortcut = x if self.shortcut is None else self.shortcut(x, relu=False)
        return self.second(self.first(x), shortcut)


class Network(nn.Module):
    """(D * N, 1, 32, 32) -> scores (D * N, classes). The last maps have `edge` positions a side, of 2, 4, 8, 16."""

    def __init__(self, classes, norm_cfg, devices=1, edge=2):
        super().__init__()
        self.devices = devices
        blocks = [ConvNorm(1, WIDTHS[0], 3, 2, norm_cfg, devices)]
        inside, size = WIDTHS[0], 16
        for stage, (outside, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            for block in range(count):
                stride = 2 if stage and not block and size > edge else 1
                blocks.append(Block(inside, outside, stride, norm_cfg, devices))
                inside, size = outside, size // stride
        self.body = nn.Sequential(*blocks)
        self.head = nn.Conv2d(inside * devices, classes * devices, 1, groups=devices)

    def forward(self, x):
        x = x.unflatten(0, (self.devices, -1)).transpose(0, 1).flatten(1, 2)
        scores = self.head(self.body(x).mean((2, 3), keepdim=True))
        return scores.unflatten(1, (self.devices, -1)).transpose(0, 1).flatten(0, 1).flatten(1)
