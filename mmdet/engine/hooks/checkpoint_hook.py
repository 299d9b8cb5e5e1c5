import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner
from torch.utils._pytree import tree_leaves

from mmdet.errors import UserError
from mmdet.registry import HOOKS

from ..distributed import unwrap

STOPPED = 'stopped.pth'  # what a run that was asked to stop leaves; the next checkpoint replaces it
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFullError(UserError):
    """A checkpoint could not be written for want of space."""


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's, which here leaves a whole latest checkpoint whenever it is killed.

    The order is: write the new one, point `last_checkpoint` at it, only then delete what max_keep_ckpts does not keep,
    and the former best one. Where the disk is full the training goes on without this checkpoint, unless it is the last.
    """
    last_ckpt: str | None
    _validated = False  # whether the validation of what is saved lies behind it
    _size = 0  # of a checkpoint, bytes
    _best_before: dict[str, str | None]

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if not is_main_process() or not isinstance(get_file_backend(self.out_dir), LocalBackend):
            return
        for part in Path(self.out_dir).glob('.*.pth.part'):  # of a run that was killed
            part.unlink()
        self.before_save_checkpoint(runner, unwrap(runner.model).state_dict())
        free = shutil.disk_usage(self.out_dir).free
        if self.interval > 0 and free < self._size:
            raise DiskFullError(f'{self.out_dir} has {free:,} bytes free, and the weights alone need {self._size:,}: '
                                'make room, or choose another --work-dir')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._size = sum(leaf.nbytes for leaf in tree_leaves(checkpoint) if isinstance(leaf, torch.Tensor))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        new = self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids
        kept = [*self.keep_ckpt_ids, step] if new else []
        if new:
            # With those to be deleted: a run that is killed before it has done so does it when it is resumed.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        filename = self.filename_tmpl.format(step)
        path = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', path)
        if self._validated:
            self._remove_former_best()
        try:
            with self._named_if_full(path):
                runner.save_checkpoint(
                    self.out_dir, filename, self.file_client_args, save_optimizer=self.save_optimizer,
                    save_param_scheduler=self.save_param_scheduler, meta={**meta, 'validated': self._validated},
                    by_epoch=self.by_epoch, backend_args=self.backend_args, **self.args)
        except DiskFullError as error:
            if meta['iter'] >= runner.max_iters:
                raise
            runner.logger.error(f'{error}. The training goes on without this checkpoint')
            return
        self.last_ckpt = path
        if new:
            self.keep_ckpt_ids.append(step)  # a deque of max_keep_ckpts
        if is_main_process():
            point_at(runner, path)
            outdated = map(self.filename_tmpl.format, kept[:-self.max_keep_ckpts])
            for old in [*outdated, STOPPED]:
                self._remove(self.file_backend.join_path(self.out_dir, old))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:  # the first figure, as mmengine has it, before paths are kept by its name
            self._init_rule(self.rules, [next(iter(metrics))])
        # mmengine would delete the best one so far before the next is written: it shall not know of it.
        before = {name: value for name, value in runner.message_hub.runtime_info.items() if name.startswith('best_')}
        paths = self._best_paths()
        self._best_before, self._validated = paths.copy(), True
        paths.update(dict.fromkeys(paths))
        self._set_best_paths(paths)
        try:
            with self._named_if_full(self.file_backend.join_path(self.out_dir, 'best_*.pth')):
                super()._save_best_checkpoint(runner, metrics)
        except DiskFullError as error:
            runner.message_hub.update_info_dict(before)
            self._set_best_paths(self._best_before)
            runner.logger.error(f'{error}. The training goes on without this checkpoint')
        else:
            self._remove_former_best()
        self._validated = False

    def _best_paths(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return self.best_ckpt_path_dict.copy()

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path, = paths.values()
        else:
            self.best_ckpt_path_dict = paths

    def _remove_former_best(self) -> None:
        paths = self._best_paths()
        for name, former in self._best_before.items():
            if paths.get(name) is None:
                paths[name] = former
            elif former and former != paths[name] and is_main_process():
                self._remove(former)
        self._set_best_paths(paths)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.file_backend.remove(path)

    @contextlib.contextmanager
    def _named_if_full(self, path: str) -> Iterator[None]:
        """Raise DiskFullError where an OSError says so."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            free = shutil.disk_usage(self.out_dir).free
            raise DiskFullError(f'{path} could not be written ({error.strerror}): it needs {self._size:,} '
                                f'bytes, and {free:,} are free. Make room, or keep fewer with default_hooks.checkpoint.'
                                'max_keep_ckpts') from error


def point_at(runner: Runner, path: str) -> None:
    """Let `last_checkpoint` of the work_dir name the checkpoint to resume from."""
    pointer = Path(runner.work_dir, 'last_checkpoint')
    pointer.with_suffix('.part').write_text(path)
    os.replace(pointer.with_suffix('.part'), pointer)


def write_stopped(runner: Runner, meta: dict[str, Any]) -> str:
    """Write a checkpoint of `meta`'s epoch and iter, to resume from; returns its path. Every process must call it."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None) or CheckpointHook()
    if hook.out_dir is None:
        hook.out_dir = runner.work_dir
    path = os.path.join(hook.out_dir, STOPPED)
    with hook._named_if_full(path):
        runner.save_checkpoint(hook.out_dir, STOPPED, meta=meta, by_epoch=False, backend_args=hook.backend_args)
    if is_main_process():
        point_at(runner, path)
    return path
