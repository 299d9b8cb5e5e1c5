"""Batch normalization by statistics that are not all the batch's own: other processes' or other iterations'."""
import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as dist
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmdet.ops.arguments import check_number, check_rows, check_together
from mmdet.ops.scaled_sum import scaled_sum


def normalize(y: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int | Tensor,
              group: dist.ProcessGroup | None = None, rows: Tensor | None = None) -> Tensor:
    """(y - mean) / sqrt(variance + eps) * weight + bias.

    Backward takes into account that `mean` and `variance` depend on y: y holds some of the `count` positions they were
    taken over, the same number of each; with `group` the other processes' y hold the rest. It works once.

    Args:
        y (Tensor): (B, C, H, W), floating point; B may be 0.
        mean, variance, weight, bias (Tensor): (C,), float32 or y's dtype where that is wider.
        eps (float): added to the variance.
        count (int or 0-dim Tensor): positions behind the statistics.
        group (ProcessGroup or None): processes that share the statistics. All of them must run backward.
        rows (Tensor or None): bool (B,), the images that are behind the statistics. The gradients of the others must be
            0, and those of their y are.

    Returns:
        Tensor: (B, C, H, W) in y's dtype and memory format.

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    if y.dim() != 4 or any(values.shape != y.shape[1:2] for values in (mean, variance, weight, bias)):
        raise ValueError(f'normalize: y must be (B, C, H, W) and the others (C,), got {tuple(y.shape)} and '
                         f'{[tuple(values.shape) for values in (mean, variance, weight, bias)]}')
    check_together('normalize', y, mean, variance, weight, bias)
    check_number('normalize', eps=eps)
    if rows is not None:
        check_rows('normalize', rows, y)
    return _Normalize.apply(y, mean, variance, weight, bias, eps, count, group, rows)


class _Normalize(Function):
    @staticmethod
    def forward(ctx, y, mean, variance, weight, bias, eps, count, group, rows):
        ctx.save_for_backward(y, weight, mean, variance, rows)
        ctx.eps, ctx.count, ctx.group = eps, count, group
        return F.batch_norm(y, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        y, weight, mean, variance, rows = ctx.saved_tensors
        scale = torch.rsqrt(variance + ctx.eps)
        if y.numel():
            # As in training, where mean and 1 / sqrt(variance + eps) are given: CUDA has no other form.
            sums = torch.ops.aten.native_batch_norm_backward(
                grad, y, weight, None, None, mean, scale, True, ctx.eps, [False, True, True])[1:]
        else:  # by which torch's kernel divides
            sums = weight.new_zeros(2, len(weight))
        grad_weight, grad_bias = sums
        if ctx.group is not None:
            sums = torch.stack([grad_weight, grad_bias])
            dist.all_reduce(sums, group=ctx.group)
        scaled_weight = weight * scale
        share = scaled_weight / -ctx.count
        slope = share * scale * sums[0]
        offset = torch.addcmul(share * sums[1], slope, mean, value=-1)
        grad_y = scaled_sum(grad, y, scaled_weight, slope, offset)
        if rows is not None:
            grad_y = grad_y.mul_(rows.view(-1, 1, 1, 1))
        return grad_y, None, None, grad_weight, grad_bias, *[None] * 4
