from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import distributed as dist

from mmdet.registry import HOOKS

from ..distributed import unwrap


def _norms(runner: Runner) -> list[Any]:
    """Those that want to know how long an epoch is."""
    return [module for module in runner.model.modules() if hasattr(module, 'set_epoch_length')]


def _is_history(name: str) -> bool:
    return name.rsplit('.', 1)[-1].startswith('cbn_')


@HOOKS.register_module()
class CBNHook(Hook):
    """What CBN layers need of a run: the length of an epoch, and a checkpoint with the history of every process."""

    def __init__(self) -> None:
        self._gathered: list[dict] | None = []

    def before_checkpoint(self, runner: Runner) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1 and _norms(runner):
            self._gathered = self._gather(runner)

    def before_train(self, runner: Runner) -> None:
        for layer in _norms(runner):
            layer.set_epoch_length(len(runner.train_dataloader))

    @staticmethod
    def _gather(runner: Runner) -> list[dict] | None:
        own = {name: value.cpu() for name, value in unwrap(runner.model).state_dict().items() if _is_history(name)}
        first = dist.get_rank() == 0
        histories: list[Any] | None = [None] * dist.get_world_size() if first else None
        dist.gather_object({} if first else own, histories)  # that of rank 0 is in the weights
        return histories

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._gathered:
            checkpoint['cbn_histories'] = self._gathered

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get('state_dict', checkpoint)
        of_first = [name for name in weights if _is_history(name)]
        if not of_first:
            return
        histories = checkpoint.get('cbn_histories', [{}])
        if len(histories) != runner.world_size:
            if runner._resume:
                runner.logger.warning(f'The checkpoint holds the CBN histories of {len(histories)} processes, these '
                                      f'are {runner.world_size}: all begin with that of the first')
        elif runner.rank > 0:
            for name in of_first:
                del weights[name]
            weights.update(histories[runner.rank])
