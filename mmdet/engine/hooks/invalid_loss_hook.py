from typing import Any

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import Tensor

from mmdet.errors import UserError
from mmdet.registry import HOOKS

from ..distributed import unwrap

CURES = ('Usual cures: a lower optim_wrapper.optimizer.lr, a longer warmup, optim_wrapper.clip_grad=dict(max_norm=35). '
         'The checkpoints written before are good')


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops a training whose loss or weights are NaN or infinite, before they get into a checkpoint.

    It keeps what each step gave, and looks at all of it every `interval` steps (or whenever losses are logged, if that
    is more often), before each checkpoint and in the end. So no step waits for the device, and the first bad one is
    named.
    """

    def __init__(self, interval: int = 50):
        self.interval = interval
        self._steps: list[tuple[int, dict[str, Any], list]] = []  # iteration, losses, images

    def before_train(self, runner: Runner) -> None:
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook):
                self.interval = min(self.interval, hook.interval)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        if outputs and 'loss' in outputs:
            losses = {name: value.detach() if isinstance(value, Tensor) else value for name, value in outputs.items()}
            samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
            self._steps.append((runner.iter + 1, losses, [getattr(sample, 'img_path', '?') for sample in samples]))
        if self.every_n_train_iters(runner, self.interval) or len(self._steps) == 1000:
            self.check_losses()

    def before_checkpoint(self, runner: Runner) -> None:
        """Raise UserError unless all that would be saved is finite."""
        self.check_losses()
        check_weights(unwrap(runner.model), runner.iter)

    def after_train(self, runner: Runner) -> None:
        self.before_checkpoint(runner)

    def check_losses(self) -> None:
        """Raise UserError that names the first step whose loss was not finite."""
        steps, self._steps = self._steps, []
        if not steps or torch.stack([torch.as_tensor(losses['loss']) for _, losses, _ in steps]).isfinite().all():
            return
        iteration, losses, images = next(step for step in steps if not _finite(step[1]['loss']))
        terms = [name for name, value in losses.items() if not _finite(value)]
        raise UserError(f'the loss is not finite at iteration {iteration}: {", ".join(terms)}. Images of this batch: '
                        f'{", ".join(map(str, images)) or "unknown"}. {CURES}')


def _finite(value: Any) -> bool:
    return bool(torch.isfinite(torch.as_tensor(value)).all())


@torch.no_grad()
def check_weights(model: torch.nn.Module, iteration: int) -> None:
    """Raise UserError that names the weights and running statistics that are not finite."""
    checked = {name: value for name, value in model.state_dict(keep_vars=True).items()
               if value.is_floating_point() and value.numel()
               and (isinstance(value, torch.nn.Parameter) or '.running_' in f'.{name}')}
    if not checked:
        return
    # The largest magnitude is NaN where a value is.
    largest = torch.stack([norm.float() for norm in torch._foreach_norm(list(checked.values()), float('inf'))])
    bad = [name for name, finite in zip(checked, largest.isfinite().tolist(), strict=True) if not finite]
    if bad:
        raise UserError(f'{len(bad)} of {len(checked)} weights are not finite by iteration {iteration}, though the '
                        f'losses were: {", ".join(bad[:3])}{", ..." if len(bad) > 3 else ""}. {CURES}')
