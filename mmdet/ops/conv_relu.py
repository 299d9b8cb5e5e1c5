"""A convolution on a GPU with all that follows it, in one kernel of cuDNN."""
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmdet.ops.memory_format import is_channels_last, to_vectors


def serves(x: Tensor, weight: Tensor, options: tuple) -> bool:
    """Whether `conv_relu` takes them: half precision, or float32 under autocast, channels-last in whole 16 bytes."""
    return x.is_cuda and x.dim() == 4 and _dtype(x).itemsize == 2 and options[-1] == 1 and len(weight) % 8 == 0 \
        and not isinstance(options[1], str) and (is_channels_last(x) or is_channels_last(weight)) \
        and not torch.are_deterministic_algorithms_enabled() and not torch.compiler.is_compiling()


def conv_relu(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, options: tuple) -> Tensor:
    """relu(conv(x) + bias + residual) in the dtype of autocast, else of x. The features are written once.

    Args:
        x (Tensor): (B, Cin, H, W). weight (Tensor): (Cout, Cin, kh, kw). bias (Tensor or None): (Cout,), rounded to the
            features' dtype. residual (Tensor or None): as the output.
        options (tuple): stride, padding, dilation, each of height and width, and groups, 1.

    Returns:
        Tensor: (B, Cout, H', W'), channels-last.
    """
    dtype = _dtype(x)
    given = [None if value is None else value.to(dtype) for value in (x, weight, bias, residual)]
    with torch.autocast('cuda', enabled=False):
        return _ConvReLU.apply(*given, options)


def _dtype(x):
    """Of the convolution of x."""
    return torch.get_autocast_dtype('cuda') if torch.is_autocast_enabled('cuda') else x.dtype


class _ConvReLU(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, residual, options):
        if residual is None:
            out = torch.cudnn_convolution_relu(x, weight, bias, *options)
        else:
            out = torch.cudnn_convolution_add_relu(x, weight, residual, 1, bias, *options)
        ctx.save_for_backward(x, weight, out)
        ctx.options = options
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, out = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.options
        wants_x, wants_weight, wants_bias, wants_residual, _ = ctx.needs_input_grad
        grad, grad_bias = torch.ops.mmdet.bias_relu_backward(to_vectors(grad), out, wants_bias)
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, dilation, False, (0, 0), groups, (wants_x, wants_weight, False))
        return (grad_x, grad_weight, grad_bias.to(weight.dtype) if wants_bias else None,
                grad if wants_residual else None, None)
