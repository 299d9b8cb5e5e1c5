"""The mean of the input patches under a convolution's output positions."""
import torch
from torch import Tensor

from mmdet.ops.arguments import check_pairs, check_rows, check_together
from mmdet.ops.extension import SERVED, fake

PARTS = 16

@torch.no_grad()
def mean_patch(x: Tensor, kernel_size: tuple[int, ...], stride: tuple[int, ...] = (1, 1),
               padding: tuple[int, ...] = (0, 0), dilation: tuple[int, ...] = (1, 1),
               rows: Tensor | None = None) -> Tensor:
    """The mean over all output positions of a convolution of the input patch under each; outside `x` are zeros.

    Reads x once. On CPUs, for strides and dilations 1 and x channels-last, by our own kernel. No gradient flows through
    it.

    Args:
        x (Tensor): (B, C, H, W), floating point.
        kernel_size, stride, padding, dilation (tuple): the convolution's, of height and width, in pixels.
        rows (Tensor or None): bool (B,), the images that count.

    Returns:
        Tensor: (C, kh, kw), contiguous, float32 or x's dtype where that is wider; 0 where no image counts.

    Raises:
        ValueError: x has other than 4 dimensions, the kernel is larger than the padded input, sizes that are none, or
            rows that do not fit.
        TypeError: x is not floating point, sizes that are no whole numbers.
    """
    if x.dim() != 4:
        raise ValueError(f'mean_patch: x must be (B, C, H, W), got {tuple(x.shape)}')
    check_together('mean_patch', x)
    check_pairs('mean_patch', kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
    if rows is not None:
        check_rows('mean_patch', rows, x)
    sides = list(zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True))
    positions = [_out_size(*of_side) for of_side in sides]
    if min(positions) <= 0:
        raise ValueError(f'mean_patch: the kernel {tuple(kernel_size)} is larger than the padded input: x '
                         f'{tuple(x.shape)}, padding {tuple(padding)}')
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    if x.device.type == 'cpu' and SERVED['cpu'] and rows is None and channels_last \
            and tuple(stride) == tuple(dilation) == (1, 1):
        return torch.ops.mmdet.mean_patch(x, *kernel_size, *padding)
    dtype = torch.promote_types(x.dtype, torch.float32)
    count = (len(x) if rows is None else rows.sum().clamp(min=1)) * positions[0] * positions[1]
    if all(side[1:4] == (1, 1, 0) for side in sides):  # every position is read once
        total = _sum(x.permute(0, 2, 3, 1), rows, dtype).sum((0, 1))
        return total.view(-1, 1, 1) / count
    down, across = (_reads(*of_side, x.new_empty((), dtype=dtype)) for of_side in sides)
    if channels_last:  # along the memory it is 20 times as fast as across it
        total = _sum(x.permute(0, 2, 3, 1), rows, dtype)  # (H, W, C)
        total = across @ (down @ total.flatten(1)).unflatten(1, total.shape[1:])
        total = total.permute(2, 0, 1)
    else:
        total = down @ _sum(x, rows, dtype) @ across.T
    return total.contiguous() / count


def _sum(x, rows, dtype):
    """Sum of the images that count. A product reads x once, as a mask would not; in half precision it is of some
    parts, whose sums are rounded each by itself."""
    if rows is None:
        return x.sum(0, dtype=dtype)
    part = torch.arange(len(x), device=x.device) % PARTS == torch.arange(PARTS, device=x.device)[:, None]
    return ((part & rows).to(x.dtype) @ x.flatten(1)).sum(0, dtype=dtype).view(x.shape[1:])


def _out_size(size, kernel, stride, padding, dilation):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _reads(size, kernel, stride, padding, dilation, like):
    """(kernel, size) 0/1: whether kernel element i reads input row h for some output row."""
    out_size = _out_size(size, kernel, stride, padding, dilation)
    if stride == dilation == 1:
        return like.new_ones(kernel, size).triu_(-padding).tril_(out_size - 1 - padding)
    first = torch.arange(kernel, device=like.device) * dilation - padding
    step = torch.arange(size, device=like.device) - first[:, None]
    return ((step >= 0) & (step % stride == 0) & (step < out_size * stride)).to(like.dtype)


@fake('mean_patch')
def _fake(x, kernel_height, kernel_width, pad_y, pad_x):
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.empty((x.size(1), kernel_height, kernel_width), dtype=dtype, device=x.device)
