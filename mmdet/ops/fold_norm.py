"""A batch norm by fixed statistics as part of the convolution before it."""
import torch
from torch import Tensor
from torch.autograd import Function

from mmdet.ops.arguments import check_number, check_together
from mmdet.ops.extension import KERNELS, fake
from mmdet.ops.memory_format import is_channels_last, memory_format


def fold_norm(weight: Tensor, conv_bias: Tensor | None, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor,
              eps: float) -> tuple[Tensor, Tensor]:
    """Weights and bias of the convolution that gives norm(conv(x)).

    On GPUs one kernel makes them, the weights in the dtype that autocast convolves in, and one their gradients.

    Args:
        weight (Tensor): (Cout, Cin/groups, kh, kw), the convolution's, floating point.
        conv_bias (Tensor or None): (Cout,), the convolution's.
        gamma, beta, mean, variance (Tensor): (Cout,), scale, shift and statistics of the norm.
        eps (float): added to the variance.

    Returns:
        tuple: weights as the given ones, and bias (Cout,).

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    tensors = [gamma, beta, mean, variance, *([] if conv_bias is None else [conv_bias])]
    if weight.dim() != 4 or any(values.shape != weight.shape[:1] for values in tensors):
        raise ValueError('fold_norm: weight must be (Cout, Cin/groups, kh, kw) and the others (Cout,), got '
                         f'{tuple(weight.shape)} and {[tuple(values.shape) for values in tensors]}')
    check_together('fold_norm', weight, *tensors)
    check_number('fold_norm', eps=eps)
    kind = weight.device.type
    if KERNELS['fold_norm', kind] and not torch.compiler.is_compiling() and not mean.requires_grad \
            and not variance.requires_grad and all(values.dtype == weight.dtype for values in tensors):
        casts = weight.dtype == torch.float32 and torch.is_autocast_enabled(kind)
        weight = weight.contiguous(memory_format=memory_format(is_channels_last(weight)))
        return _FoldNorm.apply(weight, *(None if values is None else values.contiguous() for values in
                                         (conv_bias, gamma, beta, mean, variance)), eps,
                               torch.get_autocast_dtype(kind) if casts else weight.dtype)
    scale = gamma * torch.rsqrt(variance + eps)
    mean = mean if conv_bias is None else mean - conv_bias
    return (weight * scale.view(-1, 1, 1, 1)).to(weight.dtype), beta - mean * scale


class _FoldNorm(Function):
    @staticmethod
    def forward(ctx, weight, conv_bias, gamma, beta, mean, variance, eps, dtype):
        ctx.save_for_backward(weight, conv_bias, gamma, mean, variance)
        ctx.eps = eps
        return torch.ops.mmdet.fold_norm(weight, conv_bias, gamma, beta, mean, variance, eps, dtype)

    @staticmethod
    def backward(ctx, grad, grad_bias):
        weight, conv_bias, gamma, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated once more
            inverse = torch.rsqrt(variance + ctx.eps)
            scale = gamma * inverse
            mean = mean if conv_bias is None else mean - conv_bias
            grad_weight = grad * scale.view(-1, 1, 1, 1)
            grad_gamma = ((grad * weight).sum((1, 2, 3)) - grad_bias * mean) * inverse
            grad_conv_bias = grad_bias * scale
        else:
            grad = grad.contiguous(memory_format=memory_format(is_channels_last(weight)))
            grad_weight, grad_gamma, grad_conv_bias = torch.ops.mmdet.fold_norm_backward(
                grad, grad_bias.contiguous(), weight, conv_bias, gamma, mean, variance, ctx.eps)
        return (grad_weight, None if conv_bias is None else grad_conv_bias, grad_gamma, grad_bias.to(gamma.dtype),
                *[None] * 4)


@fake('fold_norm')
def _fake(weight, conv_bias, gamma, beta, mean, variance, eps, dtype):
    bias = torch.empty_like(gamma, dtype=torch.promote_types(gamma.dtype, torch.float32))
    return torch.empty_like(weight, dtype=dtype, memory_format=memory_format(is_channels_last(weight))), bias


@fake('fold_norm_backward')
def _fake_backward(grad, grad_bias, weight, conv_bias, gamma, mean, variance, eps):
    return torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
