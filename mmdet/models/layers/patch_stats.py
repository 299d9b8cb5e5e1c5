"""How the statistics of a convolution's output depend on its weights: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.ops import mean_patch, variance_slope


def slopes(x: Tensor, conv: nn.Conv2d, y: Tensor, mean: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Derivatives of each output channel's mean and of its variance by its weights.

    Args:
        conv: a plain convolution, or one with `convolve(x, weight)`, linear in the weight (Cout, Cin/groups, kh, kw).
        mean: (Cout,), of y's channels, float32 or wider.
        rows: bool (B,), those that the statistics are of; None: all.

    Returns:
        (Cin, kh, kw), the mean over the output positions of the input patch under them, which is that of every channel;
        (Cout, Cin/groups, kh, kw), contiguous.
    """
    if hasattr(conv, 'convolve'):
        return _by_gradients(x, conv, y, mean, rows)
    padding = conv.padding
    if conv.padding_mode != 'zeros' or isinstance(padding, str):
        mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
        padding = (0, 0)
    where = conv.stride, padding, conv.dilation
    share: float | Tensor = 1
    if rows is not None:
        share = len(rows) / rows.sum().clamp(min=1)
        others = ~rows.view(-1, 1, 1, 1)
        x = x.masked_fill(others, 0)  # the others look at zeros, which add nothing to any product
    patch = mean_patch(x, conv.kernel_size, *where) * share
    if rows is not None and conv.kernel_size == (1, 1):  # whose products may be of what inputs differ from their means
        x = torch.where(others, patch.mean((1, 2)).to(x.dtype).view(-1, 1, 1), x)
        y = torch.where(others, mean.to(y.dtype).view(-1, 1, 1), y)
    return patch, variance_slope(x, conv.weight, y, mean, patch, *where, conv.groups) * share


def _by_gradients(x, conv, y, mean, rows):
    """Both are weight gradients: of the mean and of the variance of each output channel."""
    # Hooks of its own, or activation checkpointing would count what this saves.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
        weight = conv.weight.detach().to(mean.dtype).requires_grad_()
        again = conv.convolve(x.detach().to(mean.dtype), weight)
    real = torch.ones_like(again[:, :1]) if rows is None else rows.view(-1, 1, 1, 1).expand_as(again[:, :1]).to(again)
    share = real / real.sum().clamp(min=1)
    patch, = torch.autograd.grad(again, weight, share.expand_as(again), retain_graph=True)
    slope, = torch.autograd.grad(again, weight, 2 * (y - mean.view(-1, 1, 1)) * share)
    patch = patch[::len(weight) // conv.groups]  # alike for the channels of a group
    return patch.reshape(-1, *patch.shape[2:]), slope
