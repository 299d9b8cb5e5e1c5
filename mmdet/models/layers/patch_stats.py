"""How the statistics of a convolution's output depend on its weights: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.ops import mean_patch, variance_slope


def slopes(x: Tensor, conv: nn.Conv2d, y: Tensor, mean: Tensor, rows: Tensor | None = None,
           every: int = 1) -> tuple[Tensor, Tensor]:
    """Derivatives of each output channel's mean and of its variance by its weights.

    Args:
        conv: a plain convolution, or one with `convolve(x, weight)`, linear in the weight (Cout, Cin/groups, kh, kw).
        mean: (Cout,), of y's channels, float32 or wider.
        rows: bool (B,), those that the statistics are of; None: all.
        every: the variance is that of every so many-th output position, in height and in width.

    Returns:
        (Cin, kh, kw), the mean over the output positions of the input patch under them, which is that of every channel;
        (Cout, Cin/groups, kh, kw), contiguous.
    """
    if hasattr(conv, 'convolve'):
        return _by_gradients(x, conv, y, mean, rows, every)
    padding = conv.padding
    if conv.padding_mode != 'zeros' or isinstance(padding, str):
        mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
        padding = (0, 0)
    where = conv.stride, padding, conv.dilation
    patch = own = mean_patch(x, conv.kernel_size, *where, rows)
    if every > 1:
        stride = tuple(every * step for step in conv.stride)
        y = y[:, :, ::every, ::every]
        mean = mean_patch(y, (1, 1), rows=rows).flatten()
        if conv.kernel_size == (1, 1) and padding == (0, 0):
            x, stride = x[:, :, ::stride[0], ::stride[1]], (1, 1)
            own = mean_patch(x, (1, 1), rows=rows)
        where = stride, padding, conv.dilation
    return patch, variance_slope(x, conv.weight, y, mean, own, *where, conv.groups, rows)


def _by_gradients(x, conv, y, mean, rows, every):
    """Both are weight gradients: of the mean and of the variance of each output channel."""
    # Hooks of its own, or activation checkpointing would count what this saves.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
        weight = conv.weight.detach().to(mean.dtype).requires_grad_()
        again = conv.convolve(x.detach().to(mean.dtype), weight)
    real = torch.ones_like(again[:, :1]) if rows is None else rows.view(-1, 1, 1, 1).expand_as(again[:, :1]).to(again)
    share = real / real.sum().clamp(min=1)
    patch, = torch.autograd.grad(again, weight, share.expand_as(again), retain_graph=True)
    if every > 1:
        chosen = torch.zeros_like(real)
        chosen[:, :, ::every, ::every] = real[:, :, ::every, ::every]
        share = chosen / chosen.sum().clamp(min=1)
        mean = (y * share).sum((0, 2, 3))
    slope, = torch.autograd.grad(again, weight, 2 * (y - mean.view(-1, 1, 1)) * share)
    patch = patch[::len(weight) // conv.groups]  # alike for the channels of a group
    return patch.reshape(-1, *patch.shape[2:]), slope
