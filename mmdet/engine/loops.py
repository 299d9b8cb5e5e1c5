"""mmengine's loops, which here resume at any batch without loading those that were trained on before."""
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner import Runner, autocast
from mmengine.runner import ValLoop as _ValLoop
from torch import nn
from torch.utils.data import DataLoader

from mmdet.errors import UserError
from mmdet.registry import LOOPS

from .distributed import unwrap
from .random_state import get_random_state, set_random_state
from .running_statistics import average_running_statistics
from .validation_loss import ImageMean, loads_annotations_last, validation_losses


def build_train_dataloader(runner: Runner, dataloader: DataLoader | dict) -> Any:
    """The loader of a training, which must hold a batch.

    Raises:
        UserError: it holds none.
    """
    loader = runner.build_dataloader(dataloader, seed=runner.seed,
                                     diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
    if not len(loader):
        raise UserError(f'train_dataloader holds no batch: the data set has {len(loader.dataset)} images, and '
                        'drop_last=True leaves out a batch that is not full. A smaller train_dataloader.batch_size or '
                        'drop_last=False cures it')
    return loader


@LOOPS.register_module()
class EpochBasedTrainLoop(_EpochBasedTrainLoop):
    """Trains for max_epochs. Resumed from a checkpoint whose validation was due, it validates first."""
    validated = False  # whether the resumed checkpoint was validated

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, *args: Any, **kwargs: Any):
        super().__init__(runner, build_train_dataloader(runner, dataloader), *args, **kwargs)

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        if self._epoch and self._iter == self._epoch * len(self.dataloader) and not self.validated:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        batches: Any = self.dataloader.batch_sampler
        batches.epoch = self._epoch
        batches.skip = done = self._iter - self._epoch * len(self.dataloader)
        if done < len(self.dataloader):
            for idx, data_batch in enumerate(self.dataloader, start=done):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if due and self._epoch >= self.val_begin and self.runner.val_loop is not None:
            self.runner.val_loop.run()


class _NotYet:
    """Keeps mmengine's loop from starting the workers before it is known which batch is the first."""

    def __init__(self, dataloader: DataLoader):
        self.dataset = dataloader.dataset

    def __iter__(self) -> Iterator[dict]:
        return iter(())


@LOOPS.register_module()
class IterBasedTrainLoop(_IterBasedTrainLoop):
    """Trains for max_iters, passing over the data as often as that takes.

    Resumed from a checkpoint whose validation was due, it validates first.
    """
    validated = False  # whether the resumed checkpoint was validated

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, *args: Any, **kwargs: Any):
        loader = build_train_dataloader(runner, dataloader)
        super().__init__(runner, _NotYet(loader), *args, **kwargs)
        self.dataloader = loader

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter and not self.validated:
            self._validate_if_due()
        batches = self._endless()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _endless(self) -> Iterator[dict]:
        batches: Any = self.dataloader.batch_sampler
        batches.skip = self._iter
        for batches.epoch in itertools.count():
            if hasattr(batches.sampler, 'set_epoch'):
                batches.sampler.set_epoch(batches.epoch)
            yield from self.dataloader

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if due and self._iter >= self.val_begin and self.runner.val_loop is not None:
            self.runner.val_loop.run()


@LOOPS.register_module()
class ValLoop(_ValLoop):
    """Validates the same model on all processes, and leaves the random generators of the training as they were.

    Args:
        loss: also give the losses, as val_loss, val_loss_cls and so on; costs a second pass.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: Any, fp16: bool = False,
                 loss: bool = False):
        super().__init__(runner, dataloader, evaluator, fp16)
        self.loss = loss
        self.resized_later = loss and loads_annotations_last(self.dataloader.dataset)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        super().run_iter(idx, data_batch)
        if self.loss:
            model = unwrap(self.runner.model)
            with autocast(enabled=self.fp16):
                losses = validation_losses(model, data_batch, idx, self.resized_later)
            for name, value in losses.items():  # mmengine's loop gives their means with the metrics
                self.val_loss.setdefault(name, ImageMean()).add(value, len(data_batch['data_samples']))

    def run(self) -> dict[str, float]:
        average_running_statistics(self.runner)
        # A checkpoint that is written meanwhile holds them as the training left them.
        self.runner.random_state = get_random_state()
        metrics = super().run()
        set_random_state(self.runner.random_state)
        self.runner.random_state = None
        return metrics
