"""The scatter matrix of features: their covariances times the number of positions."""
import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from mmdet.ops.conv_kernels import CONV_KERNELS, DTYPES
from mmdet.ops.extension import SERVED, fake


@torch.no_grad()
def scatter_matrix(x: Tensor, mean: Tensor) -> Tensor:
    """The sum over all positions of x - mean times itself, of every two channels. No gradient flows through it.

    Our own kernel for CPUs makes half of it, which is symmetric, and takes half the time of PyTorch's product.

    Args:
        x (Tensor): (B, C, H, W), floating point.
        mean (Tensor): (C,), float32 or float64.

    Returns:
        Tensor: (C, C), contiguous, in the dtype of `mean`.

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    if x.dim() != 4 or mean.shape != x.shape[1:2]:
        raise ValueError('scatter_matrix: x must be (B, C, H, W) and mean (C,), got '
                         f'{tuple(x.shape)} and {tuple(mean.shape)}')
    if not x.is_floating_point() or mean.dtype not in (torch.float32, torch.float64):
        raise TypeError('scatter_matrix: x must be floating point and mean float32 or float64, got '
                        f'{x.dtype} and {mean.dtype}')
    if x.device != mean.device:
        raise ValueError(f'scatter_matrix: x is on {x.device}, mean on {mean.device}')
    if CONV_KERNELS and x.device.type == 'cpu' and SERVED['cpu'] and x.dtype in DTYPES and mean.dtype == torch.float32:
        return torch.ops.mmdet.scatter_matrix(x.contiguous(memory_format=torch.channels_last), mean.contiguous())
    x = x.to(mean.dtype) - mean.view(-1, 1, 1)
    return conv2d_weight(x, (len(mean), len(mean), 1, 1), x).flatten(1)


@fake('scatter_matrix')
def _fake(x, mean):
    return torch.empty((x.size(1), x.size(1)), device=x.device)
