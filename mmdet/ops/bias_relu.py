"""What follows a convolution or a norm: bias, residual and ReLU, written over the features."""
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmdet.ops.arguments import check_together
from mmdet.ops.extension import KERNELS, fake
from mmdet.ops.memory_format import in_vectors, to_vectors


def bias_relu(x: Tensor, bias: Tensor | None = None, other: Tensor | None = None, relu: bool = True) -> Tensor:
    """relu(x + bias + other), written over x. Channels-last on GPUs it is one kernel of ours, and one in backward.

    Args:
        x (Tensor): (B, C, H, W), floating point, which nothing else needs: a convolution's or a norm's output.
        bias (Tensor or None): (C,). other (Tensor or None): as x, such as a residual block's shortcut.
        relu (bool): clamp at 0.

    Returns:
        Tensor: x.

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    check_together('bias_relu', x, bias, other)
    if x.dim() != 4 or (bias is not None and bias.shape != x.shape[1:2]) or \
            (other is not None and other.shape != x.shape):
        raise ValueError(f'bias_relu: x must be (B, C, H, W), bias (C,) and other as x, got {tuple(x.shape)}, '
                         f'{bias if bias is None else tuple(bias.shape)} and '
                         f'{other if other is None else tuple(other.shape)}')
    if bias is None and other is None and not relu:
        return x
    if KERNELS['bias_relu_', x.device.type] and in_vectors(x) and not torch.compiler.is_compiling():
        if bias is not None:
            bias = bias.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
        if other is not None:
            other = to_vectors(other.to(x.dtype))
        return _BiasReLU.apply(x, bias, other, relu)
    if bias is not None:
        x = x.add_(bias.to(x.dtype).view(-1, 1, 1))
    if other is not None:
        x = x.add_(other)
    return x.relu_() if relu else x


class _BiasReLU(Function):
    @staticmethod
    def forward(ctx, x, bias, other, relu):
        torch.ops.mmdet.bias_relu_(x, bias, other, relu)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x if relu else None)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        out, = ctx.saved_tensors
        wants_x, wants_bias, wants_other, _ = ctx.needs_input_grad
        grad_bias = None
        if out is not None or wants_bias:
            grad, grad_bias = torch.ops.mmdet.bias_relu_backward(to_vectors(grad), out, wants_bias)
        return grad if wants_x else None, grad_bias if wants_bias else None, grad if wants_other else None, None


@fake('bias_relu_')
def _fake(x, bias, other, relu):
    return None


@fake('bias_relu_backward')
def _fake_backward(grad, out, wants_bias):
    dtype = torch.promote_types(grad.dtype, torch.float32)
    return grad if out is None else torch.empty_like(grad), grad.new_empty(grad.size(1), dtype=dtype)
