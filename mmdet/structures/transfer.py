"""On the way from the loader to the device: images in one block of memory, copies that no one waits for."""
from collections.abc import Sequence

import torch
from torch import Tensor


def stack_images(images: Sequence[Tensor], pin: bool = False) -> Tensor:
    """Images of different sizes as one tensor, zeros to their right and below.

    Args:
        images: B tensors (3, h, w) of one dtype. Those of a loader are views of (h, w, 3): their rows are copied whole.
        pin: into page-locked memory, from which a GPU copies by itself.

    Returns:
        (B, 3, max h, max w), channels-last, on the images' device.
    """
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    stack = torch.empty(len(images), height, width, images[0].shape[0], dtype=images[0].dtype,
                        device=images[0].device, pin_memory=pin and images[0].device.type == 'cpu')
    for padded, image in zip(stack, images):
        _, h, w = image.shape
        padded[:h, :w] = image.permute(1, 2, 0)
        padded[:h, w:] = 0
        padded[h:] = 0
    return stack.permute(0, 3, 1, 2)


def is_gpu(device: torch.device | str) -> bool:
    """Whether copies to the device can go on while the host does other work."""
    return torch.device(device).type == 'cuda'


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on `device`. The host waits for no copy to a GPU; those of pageable memory it would wait for."""
    if is_gpu(device) and tensor.device.type == 'cpu':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
