"""Mean and variance of every channel."""
import torch
from torch import Tensor

from mmdet.ops.arguments import check_rows, check_together


@torch.no_grad()
def mean_variance(x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over images and positions. No gradient flows through it.

    Args:
        x (Tensor): (B, C, H, W), floating point.
        rows (Tensor or None): bool (B,), the images that count.

    Returns:
        tuple: mean and variance, each (C,), float32 or x's dtype where that is wider. The variance is biased: the
            divisor is B * H * W. Both are 0 where `x` has no elements, or none that count.

    Raises:
        ValueError: x has other than 4 dimensions, or rows do not fit it. TypeError: dtypes that do not fit.
    """
    if x.dim() != 4:
        raise ValueError(f'mean_variance: x must be (B, C, H, W), got {tuple(x.shape)}')
    check_together('mean_variance', x)
    if rows is not None:
        check_rows('mean_variance', rows, x)
    wide = torch.promote_types(x.dtype, torch.float32)
    if not x.numel():
        mean, variance = x.new_zeros(2, x.shape[1], dtype=wide)
        return mean, variance
    if rows is not None:
        count = rows.sum().clamp(min=1)
        mean = (rows[:, None] * x.mean((2, 3), dtype=wide)).sum(0) / count  # no product: autocast would round it
        # Those that do not count become the mean: they add nothing to the variance but to the number it is divided by.
        x = torch.where(rows.view(-1, 1, 1, 1), x, mean.to(x.dtype).view(-1, 1, 1))
        return mean, mean_variance(x)[1] * (len(rows) / count)
    # On CPUs 16 times as fast as var_mean, on GPUs without a copy in float32; with momentum 0 the running statistics
    # only tell the dtype.
    mean, variance = x.new_zeros(2, x.shape[1], dtype=wide)
    return torch.batch_norm_update_stats(x, mean, variance, 0.)
