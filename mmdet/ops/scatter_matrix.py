"""The scatter matrix of features: their covariances times the number of positions."""
import torch

from mmdet.ops.dispatch import has_cpu_kernels, kernels
from mmdet.ops.weight_grad import DTYPES


@torch.no_grad()
def scatter_matrix(x, mean):
    """The sum over all positions of x - mean times itself, of every two channels.

    Our own kernel for CPUs makes half of it, which is symmetric, and takes half the time of PyTorch's product.

    No gradient flows through it.

    Args:
        x (Tensor): (B, C, H, W).
        mean (Tensor): (C,), float32 or wider.

    Returns:
        Tensor: (C, C), contiguous, in the dtype of `mean`.
    """
    if has_cpu_kernels(x) and x.dtype in DTYPES and mean.dtype == torch.float32:
        return kernels['cpu'].scatter_matrix(x.contiguous(memory_format=torch.channels_last), mean)
    x = x.to(mean.dtype) - mean.view(-1, 1, 1)
    return torch.nn.grad.conv2d_weight(x, (len(mean), len(mean), 1, 1), x).flatten(1)
