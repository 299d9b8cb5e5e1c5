"""A sum of two features that are scaled and shifted by channels."""
import torch

from mmdet.ops.dispatch import has_cpu_kernels, kernels


@torch.no_grad()
def scaled_sum(a, b, scale_a, scale_b, offset):
    """a * scale_a + b * scale_b + offset, of each channel.

    On CPUs by our own kernel, in one pass, without tensors between.

    No gradient flows through it.

    Args:
        a, b (Tensor): (B, C, H, W), of one dtype.
        scale_a, scale_b, offset (Tensor): (C,), float32 or the features' dtype where that is wider.

    Returns:
        Tensor: (B, C, H, W), in the features' dtype and b's memory format.
    """
    if has_cpu_kernels(a):
        channels_last = b.is_contiguous(memory_format=torch.channels_last)
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        a, b = (features.contiguous(memory_format=memory_format) for features in (a, b))
        return kernels['cpu'].scaled_sum(a, b, scale_a, scale_b, offset)
    scale_a, scale_b, offset = (values.view(1, -1, 1, 1) for values in (scale_a, scale_b, offset))
    return torch.addcmul(offset, b, scale_b).addcmul_(a, scale_a).to(b.dtype)
