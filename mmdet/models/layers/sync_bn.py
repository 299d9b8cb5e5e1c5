"""Batch norm with statistics over the batches of all processes."""
import functools
import logging

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch import distributed as dist

from .batch_norm import BN
from .batch_stats import measure, normalize, pool, track


@functools.cache
def _say_plain():
    print_log('SyncBN: there is one process, so it works as BN', logger='current', level=logging.INFO)


class SyncBN(BN):
    """Batch norm over all processes, on GPUs and on CPUs; on one process it is plain batch norm.

    It is no subclass of torch.nn.SyncBatchNorm: DistributedDataParallel refuses one on the CPU, and it waits for the
    device in every forward and backward. Each process counts by its rows. One without rows must run it all the same,
    forward and backward.
    """
    process_group = None
    breaks_graphs = True

    @property
    def waits_for_others(self) -> bool:
        """Whether the other processes wait for this one to run it."""
        return self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size(self._group) > 1

    @property
    def _group(self):
        return self.process_group or dist.group.WORLD

    def forward(self, y: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) in the same dtype. rows: bool (B,), those whose statistics count in training."""
        if not self.waits_for_others:
            if self.training:
                _say_plain()
            return super().forward(y, rows)
        mean, variance, count = measure(self, y, rows)
        own = torch.cat([mean, variance, mean.new_ones(1) * count])
        every = [torch.empty_like(own) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(every, own, group=self._group)
        stacked = torch.stack(every)
        means, variances = stacked[:, :-1].chunk(2, dim=1)
        counts = stacked[:, -1:]
        total = counts.sum().clamp(min=1)
        mean, variance = pool(means, variances, counts / total)
        track(self, mean, variance, total)
        return normalize(y, self, mean, variance, total, self._group, rows)
