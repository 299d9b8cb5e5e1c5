"""How the statistics of a convolution's output depend on its weights: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet import ops


def _padded(x, conv):
    """`x` and the zero padding (height, width) that the convolution adds to it."""
    if conv.padding_mode == 'zeros' and not isinstance(conv.padding, str):
        return x, conv.padding
    mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode), (0, 0)


def mean_slope(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """(Cin, kh, kw): derivative of every output channel's mean by its weights.

    It is the mean over the output positions of the input patch under them.
    """
    x, padding = _padded(x, conv)
    return ops.mean_patch(x, conv.kernel_size, conv.stride, padding, conv.dilation)


def variance_slope(x: Tensor, conv: nn.Conv2d, y: Tensor, mean: Tensor, patch: Tensor) -> Tensor:
    """(Cout, Cin/groups, kh, kw), contiguous: derivative of each output channel's variance by its weights.

    mean: of y's channels, float32 or wider; patch: mean_slope of x.
    """
    x, padding = _padded(x, conv)
    return ops.variance_slope(x, conv.weight, y, mean, patch, conv.stride, padding, conv.dilation, conv.groups)
