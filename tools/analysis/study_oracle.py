"""What CBN would be without its error, and with another gradient: two causes told apart.

CBN's statistics are of a window of iterations, estimated; its gradient passes through this iteration's share of them.
The oracle sends the window's pictures through today's network in each step: its statistics are exact. The gradient of
either passes through
    'whole'  the statistics of all pictures of the window, and through what today's network makes of these;
    'share'  this iteration's pictures in the window's statistics, as CBN's does;
    'batch'  the statistics of this iteration's pictures, as Batch Renorm's does;
    'none'   no statistics.
The loss is that of this iteration's pictures.
"""
from collections import deque

import torch
from torch import nn
from torch.nn import functional as F

from mmdet.models.layers import CBN
from mmdet.models.layers.batch_stats import measure, normalize, track
from mmdet.registry import MODELS

BUFFER = 7  # earlier iterations in the window


class Window:
    """Scores of this iteration's pictures by the devices of `nets`, whose norms may want the window's."""

    def __init__(self, nets, norm_cfg):
        self.net, self.devices = nets.wide, nets.wide.devices
        self.whole = norm_cfg.get('gradient') == 'whole'
        self.oracle = norm_cfg['type'] == 'StudyOracle'
        self.recent = deque(maxlen=BUFFER + 1)

    def __call__(self, x):
        """x: (D * N, 1, H, W). Returns (D * N, classes)."""
        if not self.whole and not self.oracle:
            return self.net(x)
        self.recent.appendleft(x.unflatten(0, (self.devices, -1)))
        pictures = torch.cat(list(self.recent), 1).flatten(0, 1)  # those of now first on each device
        if self.whole:
            return self.net(pictures).unflatten(0, (self.devices, -1))[:, :self.recent[0].shape[1]].flatten(0, 1)
        with torch.no_grad():
            self.net(pictures)
        return self.net(x)


def renormalize(y, norm, mean, variance):
    """Normalize y by `mean` and `variance`, (C,), with the gradient of a BN by y's own statistics, scaled to fit."""
    own_variance, own_mean = torch.var_mean(y, (0, 2, 3), correction=0)
    own_scale = torch.rsqrt(own_variance + norm.eps)
    scale = torch.rsqrt(variance + norm.eps)
    ratio, offset = (scale / own_scale).detach(), ((own_mean - mean) * scale).detach()
    slope = own_scale * ratio * norm.weight
    shift = norm.bias + offset * norm.weight - own_mean * slope
    return y * slope.view(-1, 1, 1) + shift.view(-1, 1, 1)


@MODELS.register_module('StudyOracle')
class Oracle(nn.BatchNorm2d):
    """BN over the window. Unless its gradient is whole, a forward without gradient, of the window, precedes each."""

    def __init__(self, num_features, gradient):
        super().__init__(num_features)
        self.gradient = gradient

    def forward(self, y):
        if not self.training or self.gradient == 'whole':
            return super().forward(y)
        if not torch.is_grad_enabled():
            *self.seen, self.count = measure(self, y, None)
            track(self, *self.seen, self.count)
        elif self.gradient == 'share':
            return normalize(y, self, *self.seen, self.count)
        elif self.gradient == 'batch':
            return renormalize(y, self, *self.seen)
        return F.batch_norm(y, *self.seen, self.weight, self.bias, eps=self.eps)


@MODELS.register_module('StudyCBN')
class OtherCBN(CBN):
    """CBN with the gradient 'whole' or 'batch'. No burn-in."""

    def __init__(self, num_features, gradient):
        super().__init__(num_features, buffer_num=BUFFER)
        self.gradient = gradient

    def _train(self, x, conv, y, rows):
        iterations = min(self.iteration, BUFFER) + 1 if self.gradient == 'whole' else 1
        now = len(y) // iterations
        mean, variance, count = measure(self, y[:now], None)
        statistics, _ = self._iterate(x[:now], conv, y[:now], mean, variance, None, count)
        return renormalize(y, self, *statistics)
