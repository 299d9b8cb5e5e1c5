"""mmengine's loops, which here resume at any batch without loading those that were trained on before."""
from collections.abc import Iterator
from typing import Any

from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner import Runner
from mmengine.runner import ValLoop as _ValLoop
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from mmdet.errors import UserError
from mmdet.registry import LOOPS

from .random_state import get_random_state, set_random_state
from .running_statistics import average_running_statistics


class SkippingBatchSampler:
    """A batch sampler that leaves out its next `skip` batches, over several passes if they are more than one holds."""

    def __init__(self, batch_sampler: BatchSampler):
        self.batch_sampler = batch_sampler
        self.skip = 0

    def __iter__(self) -> Iterator[list[int]]:
        batches = iter(self.batch_sampler)
        while self.skip and next(batches, None) is not None:
            self.skip -= 1
        yield from batches

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:  # `sampler`, which DistSamplerSeedHook asks for
        return getattr(self.__dict__['batch_sampler'], name)


def skip_batches(dataloader: DataLoader, count: int) -> None:
    """Let the next pass over `dataloader` begin behind its first `count` batches, without loading them."""
    sampler: Any = dataloader.batch_sampler
    if not isinstance(sampler, SkippingBatchSampler):
        sampler = SkippingBatchSampler(sampler)
        # DataLoader refuses the assignment to protect its workers; none run yet when training is resumed.
        object.__setattr__(dataloader, 'batch_sampler', sampler)
    sampler.skip = count


@LOOPS.register_module()
class EpochBasedTrainLoop(_EpochBasedTrainLoop):
    """Trains for max_epochs; resumed after the last one, it still validates, for a run stopped just before that."""

    def run(self) -> nn.Module:
        if self._epoch >= self._max_epochs and self.runner.val_loop is not None:
            self.runner.val_loop.run()
        return super().run()

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if done:
            skip_batches(self.dataloader, done)
        for idx, data_batch in enumerate(self.dataloader, start=done):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class _NotYet:
    """Keeps mmengine's loop from starting the workers before it is known which batch is the first."""

    def __init__(self, dataloader: DataLoader):
        self.dataset = dataloader.dataset

    def __iter__(self) -> Iterator[dict]:
        return iter(())


@LOOPS.register_module()
class IterBasedTrainLoop(_IterBasedTrainLoop):
    """Trains for max_iters, passing over the data as often as that takes."""

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, *args: Any, **kwargs: Any):
        loader: Any = dataloader if not isinstance(dataloader, dict) else runner.build_dataloader(
            dataloader, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
        super().__init__(runner, _NotYet(loader), *args, **kwargs)
        self.dataloader = loader

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            skip_batches(self.dataloader, self._iter)
        batches = self._endless()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
            if due and self._iter >= self.val_begin and self.runner.val_loop is not None:
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _endless(self) -> Iterator[dict]:
        if not len(self.dataloader):
            raise UserError('train_dataloader holds no batch; is batch_size larger than the data set?')
        sampler = self.dataloader.batch_sampler.sampler
        epoch = 0
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            yield from self.dataloader
            epoch += 1


@LOOPS.register_module()
class ValLoop(_ValLoop):
    """Validates the same model on all processes, and leaves the random generators of the training as they were."""

    def run(self) -> dict[str, float]:
        average_running_statistics(self.runner.model)
        state = get_random_state()
        metrics = super().run()
        set_random_state(state)
        return metrics
