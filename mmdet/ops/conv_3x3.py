"""The operator conv_3x3: 3x3 convolutions of stride 1 on CPUs in float32, and their gradients. conv2d calls it."""
import torch
from torch import Tensor

from mmdet.ops.conv_kernels import CONV_KERNELS
from mmdet.ops.extension import SERVED, differentiable, fake
from mmdet.ops.memory_format import is_channels_last

SERVES = CONV_KERNELS and SERVED['cpu'] and torch.backends.cpu.get_cpu_capability() in ('AVX2', 'AVX512')
MIN_CHANNELS = 16
MIN_TILES = 48  # of 4 x 4 output positions; for fewer, what is made of the weights takes longer than what is saved
MAX_WASTE = 1.8  # positions of the tiles over positions of the map


def conv_3x3_backward(grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], transposed: bool,
                      wants: tuple[bool, bool, bool]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of conv_3x3's input, weights and bias, or None where `wants` is false."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x = grad_weight = None
    if wants[0]:
        grad_x = torch.ops.mmdet.conv_3x3(grad, weight, None, *padding, not transposed)
    if wants[1]:
        grad_weight = torch.ops.mmdet.weight_grad_3x3(*((grad, x) if transposed else (x, grad)), None, *padding,
                                                      is_channels_last(weight))
    return grad_x, grad_weight, grad.sum((0, 2, 3)) if wants[2] else None


@fake('conv_3x3')
def _fake(x, weight, bias, pad_y, pad_x, transposed):
    sign = -1 if transposed else 1
    size = (x.size(0), weight.size(1 if transposed else 0), x.size(2) + sign * (2 * pad_y - 2),
            x.size(3) + sign * (2 * pad_x - 2))
    return torch.empty(size, device=x.device, memory_format=torch.channels_last)


def _save(ctx, inputs, output):
    x, weight, _, *ctx.options = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx, grad):
    *padding, transposed = ctx.options
    return *conv_3x3_backward(grad, *ctx.saved_tensors, padding, transposed, ctx.needs_input_grad[:3]), *[None] * 3


differentiable('conv_3x3', _backward, _save)
