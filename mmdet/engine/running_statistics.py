"""Batch norm's running statistics in a run of several processes."""
import torch
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import distributed as dist
from torch import nn

from .distributed import unwrap


def average_running_statistics(runner: Runner) -> None:
    """Give the model of every process, and its moving average, the mean of all processes' running statistics.

    Each process gathers its own, and validation and the checkpoint would else see different ones. Layers in evaluation
    mode are frozen and left alone. Every process must call it; on one alone it does nothing.
    """
    if is_distributed():
        model = unwrap(runner.model)
        averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        average_over_processes([twin for modules in zip(model.modules(), *(each.modules() for each in averages))
                                for twin in modules if modules[0].training])


@torch.no_grad()
def average_over_processes(modules: list[nn.Module]) -> None:
    """Give the running statistics of `modules` the mean of all processes."""
    buffers = [getattr(module, name) for module in modules for name in ('running_mean', 'running_var')
               if isinstance(getattr(module, name, None), torch.Tensor)]
    if buffers:
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))
