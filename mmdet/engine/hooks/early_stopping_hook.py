from typing import Any

from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook
from mmengine.runner import BaseLoop, Runner

from mmdet.errors import UserError
from mmdet.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """mmengine's, which here counts on where a training is resumed, and asks nothing of a test.

    The best value and the number of validations since are part of every checkpoint.
    """
    priority = 'LOW'  # before CheckpointHook, so that the best checkpoint knows of its own validation

    def _init_rule(self, monitor: str) -> str:
        try:
            return super()._init_rule(monitor)
        except ValueError:
            raise UserError(f'EarlyStoppingHook cannot tell whether more or less of monitor={monitor!r} is better: '
                            "add rule='greater' or rule='less'") from None

    def before_run(self, runner: Runner) -> None:
        pass  # mmengine builds the training here, also for a test

    def before_train(self, runner: Runner) -> None:
        kept = runner.message_hub.runtime_info.get(self._key)
        if kept is not None:
            self.best_score, self.wait_count = kept

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        if not isinstance(runner._train_loop, BaseLoop):
            return
        super().after_val_epoch(runner, metrics or {})
        runner.message_hub.update_info(self._key, [float(self.best_score), self.wait_count])

    @property
    def _key(self) -> str:
        return f'early_stopping/{self.monitor}'
