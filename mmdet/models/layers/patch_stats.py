"""Statistics of the input patches under a convolution's output positions: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet import ops


def _padded(x, conv):
    """`x` and the zero padding (height, width) that the convolution adds to it."""
    if conv.padding_mode == 'zeros' and not isinstance(conv.padding, str):
        return x, conv.padding
    mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode), (0, 0)


def mean_patch(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """(Cin, kh, kw): mean over the output positions of the input patch under them.

    It is the derivative of every output channel's mean by its weights.
    """
    x, padding = _padded(x, conv)
    return ops.mean_patch(x, conv.kernel_size, conv.stride, padding, conv.dilation)


def variance_slope(x: Tensor, conv: nn.Conv2d, y: Tensor, mean: Tensor, patch: Tensor) -> Tensor:
    """(Cout, Cin/groups, kh, kw), contiguous: derivative of each output channel's variance by its weights.

    mean: of y's channels, float32 or wider; patch: mean_patch of x. It is 2/N sum over the positions of y - mean times
    the patch under it: the convolution's weight gradient for the output gradient y - mean.

    Tried on CPUs and not worth it: one call for this and for the backward's own weight gradient, as one of 2 Cout
    channels (no faster); the covariance of the patches where they are larger than 1x1 (Cin kh kw > Cout).
    """
    x, padding = _padded(x.detach(), conv)
    cout, cin = conv.weight.shape[:2]
    count = y.numel() // cout
    share = .5 if x.device.type == 'cpu' else 1  # of the products: scatter matrices are symmetric
    if _is_pointwise(conv) and cin * (share * count + cout) < count * cout:
        slope = conv.weight.detach().to(mean.dtype).flatten(1) @ ops.scatter_matrix(x, patch.flatten())
        return slope.view_as(conv.weight).mul_(2 / count)
    return ops.conv2d_weight_grad(x, conv.weight.shape, y.detach(), conv.stride, padding, conv.dilation, conv.groups,
                                  offset=mean, scale=2 / count, rough=True)


def _is_pointwise(conv):
    return conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1 and conv.padding in ((0, 0), 'same', 'valid')
