import contextlib
import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmdet.registry import HOOKS

from ..distributed import unwrap
from ..random_state import get_random_state, set_random_state


@HOOKS.register_module()
class PreciseBNHook(Hook):
    """Computes the running statistics of all batch norms anew, before the checkpoint and the validation.

    They become mean and variance over `num_batches` training batches of every process with today's weights, in place of
    a moving average over past weights. Weights, random numbers, frozen layers and what else a norm stores (CBN's
    history) are left alone.

    Args:
        num_batches: at most; an epoch ends it too.
        interval: epochs between two computations, or iterations with by_epoch=False.
    """
    priority = 'LOW'  # before the checkpoint is written

    def __init__(self, num_batches: int = 200, interval: int = 1, by_epoch: bool = True):
        self.num_batches = num_batches
        self.interval = interval
        self.by_epoch = by_epoch

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._run(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._run(runner)

    def _run(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        norms = [module for module in model.modules()
                 if isinstance(module, _BatchNorm) and module.training and module.track_running_stats]
        if norms:
            state = get_random_state()
            with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model), _batch_statistics(norms):
                recompute(model, norms, itertools.islice(_another_pass(runner.train_dataloader), self.num_batches))
            set_random_state(state)
            runner.logger.info(f'Running statistics of {len(norms)} norms computed anew')


def _another_pass(loader: DataLoader) -> Iterator[dict]:
    """Batches as `loader` gives them, without disturbing a pass that is under way."""
    batch_sampler = copy.deepcopy(loader.batch_sampler, {id(loader.dataset): loader.dataset})
    return iter(DataLoader(loader.dataset, batch_sampler=batch_sampler, num_workers=loader.num_workers,
                           collate_fn=loader.collate_fn, worker_init_fn=loader.worker_init_fn,
                           generator=torch.Generator().manual_seed(0)))


@contextlib.contextmanager
def _batch_statistics(norms: Sequence[Any]) -> Iterator[None]:
    """Let the running statistics of `norms` be those of the last batch."""
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    recording = [norm for norm in norms if hasattr(norm, 'recording')]
    for norm in norms:
        norm.momentum = 1.
    for norm in recording:
        norm.recording = False
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
        for norm in recording:
            norm.recording = True


def recompute(model: BaseModel, norms: Sequence[Any], batches: Iterable[dict]) -> None:
    """Set the running statistics of `norms` to those over all of `batches`, of all processes."""
    sums = [torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms]
    counts = torch.zeros(len(norms), dtype=torch.float64)
    for data in batches:
        tracked = [norm.num_batches_tracked.item() for norm in norms]
        model._run_forward(model.data_preprocessor(data, True), mode='loss')
        for i, norm in enumerate(norms):
            if norm.num_batches_tracked.item() > tracked[i]:  # else there were no rows
                mean, variance = norm.running_mean.double().cpu(), norm.running_var.double().cpu()
                sums[i] += torch.stack([mean, mean.square(), variance])
                counts[i] += 1
    if dist.is_initialized():
        device = norms[0].running_mean.device
        flat = torch.cat([counts, *(total.flatten() for total in sums)]).to(device)
        dist.all_reduce(flat)
        counts, *sums = flat.cpu().split([len(norms), *(total.numel() for total in sums)])
    for norm, total, count in zip(norms, sums, counts, strict=True):
        if count:
            mean, square, variance = total.view(3, -1) / count
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance + square - mean.square())
