"""Group Normalization (arXiv 1803.08494) and the ReLU behind it."""
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmdet.ops.arguments import check_number, check_together, check_whole
from mmdet.ops.extension import KERNELS, fake
from mmdet.ops.memory_format import in_vectors, is_channels_last, memory_format, to_vectors

MAX_CHANNELS = 1024


def group_norm(x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float = 1e-5,
               relu: bool = False) -> Tensor:
    """Normalizes each image's groups of channels to mean 0 and variance 1, then scales and shifts each channel.

    On GPUs channels-last features take kernels of ours, which read the features' own dtype, sum in float32 and write
    channels-last; PyTorch's convert to float32 under autocast, and to contiguous before 2.15.

    Args:
        x (Tensor): (B, C, H, W), floating point, contiguous or channels-last.
        num_groups (int): divides C; a group is C / num_groups neighbouring channels.
        weight, bias (Tensor or None): (C,).
        eps (float): added to the variance.
        relu (bool): clamp at 0.

    Returns:
        Tensor: as x, in its dtype and memory format, under autocast too.

    Raises:
        ValueError: num_groups that does not divide C, or shapes or devices that do not fit. TypeError: dtypes.
    """
    check_whole('group_norm', least=1, num_groups=num_groups)
    if x.dim() != 4 or num_groups < 1 or x.size(1) % num_groups or \
            any(values is not None and values.shape != x.shape[1:2] for values in (weight, bias)):
        raise ValueError(f'group_norm: {tuple(x.shape)} does not fit {num_groups} groups, or weight and bias of '
                         f'{[None if values is None else tuple(values.shape) for values in (weight, bias)]}')
    check_together('group_norm', x, weight, bias)
    check_number('group_norm', eps=eps)
    wide = torch.promote_types(x.dtype, torch.float32)
    if KERNELS['group_norm', x.device.type] and in_vectors(x) and x.size(1) <= MAX_CHANNELS and x.numel() \
            and weight is not None and bias is not None and not torch.compiler.is_compiling():
        return _GroupNorm.apply(x, num_groups, weight.to(wide).contiguous(), bias.to(wide).contiguous(), eps, relu)
    weight, bias = (None if values is None else values.to(wide) for values in (weight, bias))
    out = F.group_norm(x.to(wide), num_groups, weight, bias, eps).to(x.dtype)
    out = out.contiguous(memory_format=memory_format(is_channels_last(x)))
    return out.relu_() if relu else out


class _GroupNorm(Function):
    @staticmethod
    def forward(ctx, x, num_groups, weight, bias, eps, relu):
        out, *statistics = torch.ops.mmdet.group_norm(x, num_groups, weight, bias, eps, relu)
        ctx.save_for_backward(x, weight, bias, *statistics)
        ctx.relu = relu
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        grad_x, sums = torch.ops.mmdet.group_norm_backward(to_vectors(grad), *ctx.saved_tensors, ctx.relu)
        grad_bias, grad_weight = sums.sum(0)
        return grad_x, None, grad_weight, grad_bias, None, None


@fake('group_norm')
def _fake(x, groups, weight, bias, eps, relu):
    statistics = weight.new_empty(x.size(0), groups)
    return torch.empty_like(x), statistics, torch.empty_like(statistics)


@fake('group_norm_backward')
def _fake_backward(grad, x, weight, bias, means, scales, relu):
    return torch.empty_like(x), weight.new_empty(x.size(0), 2, x.size(1))
