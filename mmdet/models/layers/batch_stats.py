"""Normalization by statistics that are not all the batch's own: other processes' (SyncBN), other iterations' (CBN).

y: (B, C, H, W). mean, variance: (C,), biased, float32 or y's dtype where that is wider.
"""
import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet import ops


def pool(means: Tensor, variances: Tensor, shares: Tensor | float) -> tuple[Tensor, Tensor]:
    """Mean and variance of a mixture. means, variances: (S, C); shares: (S, 1), sum 1, or the share of each."""
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


@torch.no_grad()
def track(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int | Tensor) -> None:
    """Move the running statistics of `norm` towards those of a batch of `count` positions, as torch does.

    Of a count (0-dim tensor on the device) of 1 or less there is no variance, and nothing changes.
    """
    counts = count > 1
    norm.num_batches_tracked.add_(counts)
    momentum = 1 / norm.num_batches_tracked.clamp(min=1) if norm.momentum is None else norm.momentum
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance * (count / (count - 1)))):
        value = value.to(running.dtype)
        if isinstance(counts, Tensor):  # whose value is not asked for: that would wait for the device
            value = torch.where(counts, value, running)
        running.lerp_(value, momentum)


def measure(norm: _BatchNorm, y: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, int | Tensor]:
    """Mean and variance of y, or of those of its rows that count, and the number of positions they are over.

    With `rows` the number is a 0-dim tensor. Where none count, the statistics are the running ones of `norm`.
    """
    mean, variance = ops.mean_variance(y, rows)
    area = y.shape[2] * y.shape[3]
    if rows is None:
        return mean, variance, y.shape[0] * area
    count = rows.sum() * area
    return (torch.where(count > 0, mean, norm.running_mean.to(mean.dtype)),
            torch.where(count > 0, variance, norm.running_var.to(mean.dtype)), count)


def normalize(y: Tensor, norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int | Tensor,
              group: dist.ProcessGroup | None = None, rows: Tensor | None = None) -> Tensor:
    """(y - mean) / sqrt(variance + eps) with the scale and shift of `norm`, in y's dtype; see ops.normalize."""
    weight, bias = norm.weight.to(mean.dtype), norm.bias.to(mean.dtype)
    return ops.normalize(y, mean, variance, weight, bias, norm.eps, count, group, rows)
