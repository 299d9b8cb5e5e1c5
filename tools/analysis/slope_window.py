"""What `slope_error.py` keeps of a CBN's last iterations, and the statistics that follow from it."""
import copy
from collections import deque

import torch

from mmdet.models.layers.batch_stats import pool
from mmdet.models.layers.patch_stats import slopes
from mmdet.ops import mean_variance

STRIDES = 1, 2, 3


class Window:
    """The last convolutions before a CBN, with their weights then, and their inputs."""

    def __init__(self, norm):
        self.kept = deque(maxlen=norm.buffer_num + 1)
        self.run, norm.forward_conv = norm.forward_conv, self.keep

    def keep(self, x, conv, **told):
        if len(x):
            self.kept.append((copy.deepcopy(conv), x.detach()))
        return self.run(x, conv, **told)

    @torch.no_grad()
    def estimates(self):
        """Mean and variance of the window: true, averaged as they were, and compensated by each of STRIDES."""
        today = self.kept[-1][0].weight.detach().flatten(1)
        found = [[] for _ in range(2 + len(STRIDES))]
        for conv, x in self.kept:
            y = conv(x)
            mean, variance = mean_variance(y)
            change = today - conv.weight.detach().flatten(1)
            found[0].append(mean_variance(conv._conv_forward(x, today.view_as(conv.weight), conv.bias)))
            found[1].append((mean, variance))
            for place, every in enumerate(STRIDES, 2):
                patch, slope = slopes(x, conv, y, mean, None, every)
                shift = change @ patch.flatten()
                found[place].append((mean + shift, (variance + (slope.flatten(1) * change).sum(1) - shift**2).clamp(0)))
        return [pool(*map(torch.stack, zip(*each)), 1 / len(each)) for each in found]


def errors(found):
    """(estimates, 2) mean over the channels: of the mean, of the variance."""
    true_mean, true_variance = found[0]
    std = (true_variance + 1e-5).sqrt()
    return torch.stack([torch.stack([((mean - true_mean) / std).abs().mean(),
                                     (torch.log(variance + 1e-5) - 2 * std.log()).abs().mean()])
                        for mean, variance in found[1:]])
