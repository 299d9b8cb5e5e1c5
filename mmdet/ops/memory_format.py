"""In which order a tensor of features lies in memory: (B, C, H, W), or channels-last."""
import torch
from torch import Tensor

from mmdet.ops.extension import SERVED


def is_channels_last(features: Tensor) -> bool:
    """Whether features are channels-last and not contiguous as well, as those of one channel or one pixel are."""
    return features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()


def memory_format(channels_last: bool) -> torch.memory_format:
    """torch.channels_last or torch.contiguous_format."""
    return torch.channels_last if channels_last else torch.contiguous_format


def in_vectors(features: Tensor) -> bool:
    """Whether features are channels-last, every pixel's channels some whole 16 bytes: as kernels for GPUs read them."""
    size = features.element_size()
    return features.is_contiguous(memory_format=torch.channels_last) and features.size(1) * size % 16 == 0 \
        and features.storage_offset() * size % 16 == 0  # type: ignore[return-value]  # a bool or torch's own


def to_vectors(features: Tensor) -> Tensor:
    """Features of as many channels that are `in_vectors`: these, or a copy."""
    features = features.contiguous(memory_format=torch.channels_last)
    return features if in_vectors(features) else features.clone(memory_format=torch.channels_last)


def as_kernels_read(x: Tensor, weight: Tensor) -> Tensor:
    """The input of a convolution in the memory format that the kernels of its device read.

    For a layer that runs several of them on `x`: converted once here, it is not converted in each. Our kernels for CPUs
    read channels-last. Such a layer makes its output contiguous where this returned another tensor than `x`.

    Args:
        x (Tensor): (B, Cin, H, W) of any dtype.
        weight (Tensor): (Cout, Cin/groups, kh, kw), the convolution's.

    Returns:
        Tensor: `x` itself, or the same values channels-last.
    """
    if x.dim() == 4 and x.device.type == 'cpu' and SERVED['cpu'] and x.is_contiguous() and weight.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    return x
