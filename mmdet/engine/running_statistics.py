"""Batch norm's running statistics in a run of several processes."""
import torch
from mmengine.dist import is_distributed
from torch import distributed as dist
from torch import nn


@torch.no_grad()
def average_running_statistics(model: nn.Module) -> None:
    """Give every process the mean of all processes' running statistics; does nothing on one process.

    Each process gathers its own, and validation and the checkpoint would else see different ones. Layers in evaluation
    mode are frozen and left alone. Every process must call it.
    """
    if not is_distributed():
        return
    buffers = [getattr(module, name) for module in model.modules() for name in ('running_mean', 'running_var')
               if module.training and isinstance(getattr(module, name, None), torch.Tensor)]
    if buffers:
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))
