"""The weight gradient of a convolution."""
import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from mmdet.ops.arguments import check_number, check_pairs, check_rows, check_whole
from mmdet.ops.conv_kernels import CONV_KERNELS, DTYPES
from mmdet.ops.extension import SERVED, differentiable, fake
from mmdet.ops.memory_format import memory_format

MIN_TILES = 16  # of 4 x 4 output positions; for fewer, what is made of the weights takes longer than what is saved
FIXED_TILES = 8  # as many as take the time of what does not depend on their number


def conv2d_weight_grad(x: Tensor, weight_shape: tuple[int, ...], grad: Tensor,
                       stride: tuple[int, ...] = (1, 1), padding: tuple[int, ...] = (0, 0),
                       dilation: tuple[int, ...] = (1, 1), groups: int = 1, offset: Tensor | None = None,
                       scale: float = 1., rough: bool = False, rows: Tensor | None = None) -> Tensor:
    """The sum over all output positions of the gradient there times the input patch under it.

    For a 3x3 convolution of stride 1 on the CPU our own kernel takes 0.3 to 0.5 of the time of PyTorch's in float32, by
    Winograd's minimal filtering, and rounds no worse (docs/conv-kernels.md). MMDET_CONV=torch turns it off.

    Args:
        x (Tensor): (B, Cin, H, W), floating point.
        weight_shape (tuple): (Cout, Cin/groups, kh, kw).
        grad (Tensor): (B, Cout, H', W'), floating point.
        stride, padding, dilation, groups: the convolution's.
        offset (Tensor or None): (Cout,) of the result's dtype, taken off `grad` first.
        scale (float): the result is multiplied by it.
        rough (bool): allow that kernel's error to be 25 times as large (about 3e-5 of the largest result), where it is
            faster then: on maps of 7x7 and 14x14 it takes 0.65 of the time, of 40x40 0.8, on larger ones 0.85. On
            a GPU, where x is of half precision, allow grad to be rounded to bfloat16, about 1 in 500, and the result.
        rows (Tensor or None): bool (B,), the images that count; None: all.

    Returns:
        Tensor: (Cout, Cin/groups, kh, kw), contiguous, in the widest of float32 and the dtypes of x and grad.

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    check_pairs('conv2d_weight_grad', stride=stride, padding=padding, dilation=dilation)
    check_number('conv2d_weight_grad', scale=scale)
    dtype = torch.promote_types(torch.promote_types(x.dtype, grad.dtype), torch.float32)
    _check(x, weight_shape, grad, (stride, padding, dilation), groups, offset, dtype)
    if rows is not None:
        check_rows('conv2d_weight_grad', rows, x)
    if (CONV_KERNELS and rows is None and _num_tiles(grad, 4) >= MIN_TILES and x.device.type == 'cpu' and SERVED['cpu']
            and {x.dtype, grad.dtype} <= DTYPES and groups == 1 and tuple(weight_shape[2:]) == (3, 3)
            and tuple(stride) == tuple(dilation) == (1, 1)):
        x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
        larger = min((7, 8), key=lambda tile: _num_products(grad, tile))
        rough = rough and _num_products(grad, larger) < .95 * _num_products(grad, 4)
        offset = None if offset is None else offset.contiguous()
        return torch.ops.mmdet.weight_grad_3x3(x, grad, offset, *padding, False, larger if rough else 4, scale)
    # A GPU multiplies halves many times as fast as float32, and sums in float32; float16 would not hold the sums.
    kind = torch.bfloat16 if rough and x.device.type == 'cuda' and x.dtype.itemsize == 2 else dtype
    if offset is not None:
        offset = offset.view(-1, 1, 1)
        grad = grad - offset if kind == dtype else torch.sub(grad, offset, out=torch.empty_like(grad, dtype=kind))
    if rows is not None:
        grad = grad.masked_fill(~rows.view(-1, 1, 1, 1), 0)
    result = conv2d_weight(x.to(kind), weight_shape, grad.to(kind), stride, padding, dilation, groups)
    result = result.to(dtype).contiguous()
    return result if scale == 1 else result * scale


def _num_products(grad, size):
    """Of each pair of channels, by tiles of this size."""
    return (_num_tiles(grad, size) + FIXED_TILES) * (size + 2)**2


def _num_tiles(grad, size):
    return len(grad) * -(-grad.size(2) // size) * -(-grad.size(3) // size)


def _check(x, weight_shape, grad, sides, groups, offset, dtype):
    if len(weight_shape) != 4:
        raise ValueError(f'conv2d_weight_grad: weight_shape must be (Cout, Cin/groups, kh, kw), got {weight_shape}')
    check_whole('conv2d_weight_grad', least=1, groups=groups, **{f'weight_shape[{at}]': size for at, size in
                                                                enumerate(weight_shape)})
    cout, channels, *kernel = weight_shape
    if x.dim() != 4 or cout % groups or x.size(1) != channels * groups:
        raise ValueError(f'conv2d_weight_grad: x {tuple(x.shape)} and weight_shape {tuple(weight_shape)} must be '
                         f'(B, Cin, H, W) and (Cout, Cin/groups, kh, kw), groups {groups}')
    size = tuple((side + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
                 for side, taps, stride, padding, dilation in zip(x.shape[2:], kernel, *sides, strict=True))
    if grad.shape != (len(x), cout, *size) or min(size) <= 0:
        raise ValueError(f'conv2d_weight_grad: grad must be {(len(x), cout, *size)}, got {tuple(grad.shape)}')
    if offset is not None and offset.shape != (cout,):
        raise ValueError(f'conv2d_weight_grad: offset must be ({cout},), got {tuple(offset.shape)}')
    if not x.is_floating_point() or not grad.is_floating_point() or offset is not None and offset.dtype != dtype:
        raise TypeError('conv2d_weight_grad: x and grad must be floating point and offset of the widest of float32 and '
                        f'their dtypes, got {x.dtype}, {grad.dtype} and {None if offset is None else offset.dtype}')
    if grad.device != x.device or offset is not None and offset.device != x.device:
        raise ValueError(f'conv2d_weight_grad: x is on {x.device}, grad on {grad.device}, offset on '
                         f'{None if offset is None else offset.device}')


@fake('weight_grad_3x3')
def _fake(x, grad, offset, pad_y, pad_x, channels_last, tile=4, scale=1.):
    return torch.empty((grad.size(1), x.size(1), 3, 3), device=x.device, memory_format=memory_format(channels_last))


def _save(ctx, inputs, output):
    x, grad, offset, *ctx.padding, _, _, scale = inputs
    ctx.save_for_backward(x, grad)
    ctx.is_plain = offset is None and scale == 1


def _backward(ctx, grad):
    """It is the output's gradient times the convolution of x, so linear in both."""
    x, output_grad = ctx.saved_tensors
    if not ctx.is_plain or x.dtype != torch.float32 or output_grad.dtype != torch.float32:
        raise RuntimeError('weight_grad_3x3 has gradients only in float32, without an offset or a scale')
    return (torch.ops.mmdet.conv_3x3(output_grad, grad, None, *ctx.padding, True),
            torch.ops.mmdet.conv_3x3(x, grad, None, *ctx.padding, False), *[None] * 6)


differentiable('weight_grad_3x3', _backward, _save)
