"""Normalization by statistics that are not all the batch's own: other processes' (SyncBN), other iterations' (CBN).

y: (B, C, H, W). mean, variance: (C,), biased, float32 or y's dtype where that is wider.
"""
import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as dist
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.ops import scaled_sum


def measure(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, without gradient; of no rows both are 0."""
    y = y.detach()
    wide = torch.promote_types(y.dtype, torch.float32)
    if not y.numel():
        return y.new_zeros(2, y.shape[1], dtype=wide).unbind()
    if y.is_cuda:
        variance, mean = torch.var_mean(y.to(wide), (0, 2, 3), correction=0)
        return mean, variance
    # 16 times as fast as var_mean on CPUs; with momentum 0 the running statistics only tell the dtype.
    return torch.batch_norm_update_stats(y, *y.new_zeros(2, y.shape[1], dtype=wide), 0.)


def pool(means: Tensor, variances: Tensor, shares: Tensor | float) -> tuple[Tensor, Tensor]:
    """Mean and variance of a mixture. means, variances: (S, C); shares: (S, 1), sum 1, or the share of each."""
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


@torch.no_grad()
def track(norm: _BatchNorm, mean: Tensor, variance: Tensor, count) -> None:
    """Move the running statistics of `norm` towards those of a batch of `count` positions, as torch does."""
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((variance * (count / (count - 1))).to(norm.running_var.dtype), momentum)


class _Normalize(Function):
    @staticmethod
    def forward(ctx, y, weight, bias, mean, variance, eps, count, group):
        ctx.save_for_backward(y, weight, mean, variance)
        ctx.eps, ctx.count, ctx.group = eps, count, group
        return F.batch_norm(y, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        y, weight, mean, variance = ctx.saved_tensors
        if y.numel():
            sums = torch.ops.aten.native_batch_norm_backward(
                grad, y, weight, mean, variance, None, None, False, ctx.eps, [False, True, True])[1:]
        else:  # by which torch's kernel divides
            sums = weight.new_zeros(2, len(weight))
        grad_weight, grad_bias = sums
        if ctx.group is not None:
            sums = torch.stack([grad_weight, grad_bias])
            dist.all_reduce(sums, group=ctx.group)
        scale = torch.rsqrt(variance + ctx.eps)
        scaled_weight = weight * scale
        share = scaled_weight / -ctx.count
        slope = share * scale * sums[0]
        offset = torch.addcmul(share * sums[1], slope, mean, value=-1)
        return scaled_sum(grad, y, scaled_weight, slope, offset), grad_weight, grad_bias, *[None] * 5


def normalize(y: Tensor, norm: _BatchNorm, mean: Tensor, variance: Tensor, count, group=None) -> Tensor:
    """(y - mean) / sqrt(variance + eps) with the scale and shift of `norm`, in y's dtype.

    Backward takes into account that `mean` and `variance` depend on y: y holds some of the `count` positions they were
    taken over, the same number of each; with `group` the other processes' y hold the rest.
    """
    return _Normalize.apply(y, norm.weight.to(mean.dtype), norm.bias.to(mean.dtype), mean, variance, norm.eps, count,
                            group)
