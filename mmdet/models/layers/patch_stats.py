"""Statistics of the input patches under a convolution's output positions: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _padded(x, conv):
    """`x` and the zero padding (height, width) that the convolution adds to it."""
    if conv.padding_mode == 'zeros' and not isinstance(conv.padding, str):
        return x, conv.padding
    mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode), (0, 0)


def _reads(size, out_size, kernel, stride, padding, dilation, like):
    """(kernel, size) 0/1: whether kernel element i reads input row h for some output row."""
    first = torch.arange(kernel, device=like.device) * dilation - padding
    step = torch.arange(size, device=like.device) - first[:, None]
    return ((step >= 0) & (step % stride == 0) & (step < out_size * stride)).to(like.dtype)


def mean_patch(x: Tensor, conv: nn.Conv2d, y: Tensor) -> Tensor:
    """(Cin, kh, kw): mean over the output positions of the input patch under them.

    It is the derivative of every output channel's mean by its weights. Reads x once.
    """
    x, padding = _padded(x, conv)
    total = x.sum(0, dtype=torch.promote_types(x.dtype, torch.float32))
    rows, columns = (_reads(x.shape[2 + i], y.shape[2 + i], conv.kernel_size[i], conv.stride[i], padding[i],
                            conv.dilation[i], total) for i in range(2))
    return rows @ total @ columns.T / (y.numel() // y.shape[1])


def variance_slope(x: Tensor, conv: nn.Conv2d, y: Tensor, mean: Tensor) -> Tensor:
    """(Cout, Cin/groups, kh, kw): derivative of each output channel's variance by its weights; mean: (Cout,) of y.

    It is 2/N sum over the positions of (y - mean) times the patch: the weight gradient for that output gradient.
    """
    x, padding = _padded(x.to(mean.dtype), conv)
    slope = torch.nn.grad.conv2d_weight(x, conv.weight.shape, y - mean.view(-1, 1, 1), conv.stride, padding,
                                        conv.dilation, conv.groups)
    return slope.mul_(2 / (y.numel() // y.shape[1]))
