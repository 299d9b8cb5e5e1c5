import logging
import re
import shutil
import sys
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.registry import HOOKS

LINE = re.compile(r'(Epoch|Iter)\((val|test)\).* eta: ')  # of LoggerHook, within a pass


@HOOKS.register_module()
class ProgressHook(Hook):
    """A bar on a terminal during validations and tests.

    It stands in the place of LoggerHook's lines, which the log file keeps. In a file or a pipe there are these lines
    and no bar.
    """
    priority = 'ABOVE_NORMAL'  # the bar is gone before others tell what was found
    _bar: Any = None

    def before_val_epoch(self, runner: Runner) -> None:
        self._open(runner, 'validation', len(runner.val_dataloader))

    def before_test_epoch(self, runner: Runner) -> None:
        self._open(runner, 'test', len(runner.test_dataloader))

    def _open(self, runner: Runner, name: str, batches: int) -> None:
        if is_main_process() and sys.stderr.isatty():
            from tqdm import tqdm
            width, height = shutil.get_terminal_size()  # tqdm shows nothing where a terminal tells none
            self._bar = tqdm(desc=name, total=batches, unit='batch', ncols=width, nrows=height, leave=False)
            for handler in self._handlers(runner):
                handler.addFilter(self._shown)

    @staticmethod
    def _handlers(runner: Runner) -> list[logging.Handler]:
        """Those that write to a terminal."""
        return [handler for handler in runner.logger.handlers if isinstance(handler, logging.StreamHandler)
                and handler.stream is not None and handler.stream.isatty()]

    def _shown(self, record: logging.LogRecord) -> bool:
        if LINE.match(record.getMessage()):
            return False
        self._bar.clear()
        return True

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._bar is not None:
            self._bar.update()
            if self._bar.n == self._bar.total:
                self._bar.set_description('evaluating')

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        if self._bar is not None:
            for handler in self._handlers(runner):
                handler.removeFilter(self._shown)
            self._bar.close()
            self._bar = None

    after_test_epoch = after_val_epoch
