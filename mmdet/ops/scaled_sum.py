"""A sum of two features that are scaled and shifted by channels."""
import torch
from torch import Tensor

from mmdet.ops.extension import KERNELS, fake
from mmdet.ops.memory_format import memory_format


@torch.no_grad()
def scaled_sum(a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, offset: Tensor) -> Tensor:
    """a * scale_a + b * scale_b + offset, of each channel. No gradient flows through it.

    Our own kernels do it in one pass, without tensors between.

    Args:
        a, b (Tensor): (B, C, H, W), of one floating-point dtype.
        scale_a, scale_b, offset (Tensor): (C,), float32 or the features' dtype where that is wider.

    Returns:
        Tensor: (B, C, H, W), in the features' dtype and b's memory format.

    Raises:
        ValueError: shapes or devices that do not fit. TypeError: dtypes that do not.
    """
    _check(a, b, scale_a, scale_b, offset)
    if KERNELS['scaled_sum', a.device.type]:
        layout = memory_format(b.is_contiguous(memory_format=torch.channels_last))
        a, b = (features.contiguous(memory_format=layout) for features in (a, b))
        return torch.ops.mmdet.scaled_sum(a, b, *(values.contiguous() for values in (scale_a, scale_b, offset)))
    scale_a, scale_b, offset = (values.view(1, -1, 1, 1) for values in (scale_a, scale_b, offset))
    return torch.addcmul(offset, b, scale_b).addcmul_(a, scale_a).to(b.dtype)


def _check(a, b, *per_channel):
    if a.dim() != 4 or a.shape != b.shape or any(values.shape != a.shape[1:2] for values in per_channel):
        raise ValueError('scaled_sum: features must be (B, C, H, W) of one size and the others (C,), got '
                         f'{[tuple(tensor.shape) for tensor in (a, b, *per_channel)]}')
    wide = torch.promote_types(a.dtype, torch.float32)
    if a.dtype != b.dtype or any(values.dtype != wide for values in per_channel) or not a.is_floating_point():
        raise TypeError('scaled_sum: features must be of one floating-point dtype and the others of that which is at '
                        f'least float32, got {[tensor.dtype for tensor in (a, b, *per_channel)]}')
    if any(tensor.device != a.device for tensor in (b, *per_channel)):
        raise ValueError('scaled_sum: all tensors must lie on one device, got '
                         f'{[str(tensor.device) for tensor in (a, b, *per_channel)]}')


@fake('scaled_sum')
def _fake(a, b, scale_a, scale_b, offset):
    return torch.empty_like(a)
