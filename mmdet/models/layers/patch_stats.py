"""Statistics of the input patches under a convolution's output positions: x (B, Cin, H, W) -> y (B, Cout, H', W')."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.ops import conv2d_weight_grad, scatter_matrix

LARGE = 2**22  # elements; below it, fewer operations take less time


def _padded(x, conv):
    """`x` and the zero padding (height, width) that the convolution adds to it."""
    if conv.padding_mode == 'zeros' and not isinstance(conv.padding, str):
        return x, conv.padding
    mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode), (0, 0)


def _reads(size, out_size, kernel, stride, padding, dilation, like):
    """(kernel, size) 0/1: whether kernel element i reads input row h for some output row."""
    if stride == dilation == 1:
        return like.new_ones(kernel, size).triu_(-padding).tril_(out_size - 1 - padding)
    first = torch.arange(kernel, device=like.device) * dilation - padding
    step = torch.arange(size, device=like.device) - first[:, None]
    return ((step >= 0) & (step % stride == 0) & (step < out_size * stride)).to(like.dtype)


def _unread(x, first, y):
    """The columns of x (B, H, W, Cin) left and right of those that a kernel element reads, from column `first` on."""
    return x[:, :, :max(first, 0)], x[:, :, max(first + y.shape[3], 0):]


def mean_patch(x: Tensor, conv: nn.Conv2d, y: Tensor) -> Tensor:
    """(Cin, kh, kw): mean over the output positions of the input patch under them.

    It is the derivative of every output channel's mean by its weights. Reads x once.
    """
    x, padding = _padded(x, conv)
    dtype = torch.promote_types(x.dtype, torch.float32)
    rows, columns = (_reads(x.shape[2 + i], y.shape[2 + i], conv.kernel_size[i], conv.stride[i], padding[i],
                            conv.dilation[i], x.new_empty((), dtype=dtype)) for i in range(2))
    # Along the memory it is 20 times as fast as across it.
    if x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
        if conv.stride[1] == conv.dilation[1] == 1 and len(x) < x.shape[2] and x.numel() > LARGE:  # by sums of lines
            lines = x.sum(2, dtype=dtype).sum(0)  # (H, Cin)
            total = torch.stack([lines - sum(edge.sum((0, 2), dtype=dtype) for edge in _unread(x, tap - padding[1], y))
                                 for tap in range(conv.kernel_size[1])])
            total = (rows @ total).transpose(0, 1)
        else:
            total = x.sum(0, dtype=dtype)  # (H, W, Cin)
            total = columns @ (rows @ total.flatten(1)).unflatten(1, total.shape[1:])
        total = total.permute(2, 0, 1)
    else:
        total = rows @ x.sum(0, dtype=dtype) @ columns.T
    return total.contiguous() / (y.numel() // y.shape[1])


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
        slope = conv.weight.detach().to(mean.dtype).flatten(1) @ scatter_matrix(x, patch.flatten())
        return slope.view_as(conv.weight).mul_(2 / count)
    slope = conv2d_weight_grad(x, conv.weight.shape, y.detach(), conv.stride, padding, conv.dilation, conv.groups, mean,
                               rough=True)
    return slope.mul_(2 / count)


def _is_pointwise(conv):
    return conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1 and conv.padding in ((0, 0), 'same', 'valid')
