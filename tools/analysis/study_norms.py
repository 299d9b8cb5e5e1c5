"""The norms that the study compares, by the names that it prints."""
import study_oracle  # noqa: F401  registers its norms
import torch
from torch import nn

from mmdet.registry import MODELS


@MODELS.register_module('StudyBRN')
class BatchRenorm(nn.BatchNorm2d):
    """Batch Renormalization (arXiv 1702.03275), a reference: moves the batch's statistics towards the running ones.

    r and d are 1 and 0 at first and are bound by 1.5 and 0.5 after `ramp` forwards, as in arXiv 1803.08494.
    """

    def __init__(self, num_features, ramp=1000):
        super().__init__(num_features)
        self.ramp, self.forwards = ramp, 0

    def forward(self, y):
        if not self.training:
            return super().forward(y)
        variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        share = min(1, self.forwards / self.ramp)
        self.forwards += 1
        with torch.no_grad():
            std = (self.running_var + self.eps).sqrt()
            limit = 1 + 0.5 * share
            r = ((variance + self.eps).sqrt() / std).clamp(1 / limit, limit)
            d = ((mean - self.running_mean) / std).clamp(-0.5 * share, 0.5 * share)
            momentum = self.momentum or 1 / (self.num_batches_tracked + 1)
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            count = y.numel() / y.shape[1]
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = r * torch.rsqrt(variance + self.eps) * self.weight
        shift = (d - r * mean * torch.rsqrt(variance + self.eps)) * self.weight + self.bias
        return y * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


NORMS = {  # the most telling first: in this order they are trained
    'BN': dict(type='BN'),
    'GN': dict(type='GN', num_groups=4),
    'CBN, buffer 7': dict(type='CBN', buffer_num=7),
    'Batch Renorm': dict(type='StudyBRN'),
    'CBN, buffer 1': dict(type='CBN', buffer_num=1),
    'CBN, buffer 3': dict(type='CBN', buffer_num=3),
    'CBN, buffer 7, burn-in 2/3': dict(type='CBN', buffer_num=7, burnin=2 / 3),
    'CBN, buffer 7, no burn-in': dict(type='CBN', buffer_num=7, burnin=0),
    'FrozenBN': dict(type='FrozenBN'),
    'BN, momentum 0.01': dict(type='BN', momentum=0.01),
}
CAUSES = {  # none to choose: they tell apart why CBN learns less
    "oracle, CBN's gradient": dict(type='StudyOracle', gradient='share'),
    'oracle, whole gradient': dict(type='StudyOracle', gradient='whole'),
    "oracle, batch's gradient": dict(type='StudyOracle', gradient='batch'),
    'oracle, no gradient': dict(type='StudyOracle', gradient='none'),
    "CBN, buffer 7, batch's gradient": dict(type='StudyCBN', gradient='batch'),
    'CBN, buffer 7, whole gradient': dict(type='StudyCBN', gradient='whole'),
}
NORMS |= CAUSES
ANY_BATCH = ('GN', 'FrozenBN')  # images do not meet in it: with the same pictures a step, the same
