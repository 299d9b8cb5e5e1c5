import contextlib
import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner

from mmdet.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's, which here leaves a whole latest checkpoint whenever it is killed.

    The order is: write the new one, point `last_checkpoint` at it, only then delete what max_keep_ckpts does not keep.
    """
    _validated = False  # whether the validation of what is saved lies behind it

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self._validated = True
        super()._save_best_checkpoint(runner, metrics)
        self._validated = False

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            outdated, kept = kept[:-self.max_keep_ckpts], kept[-self.max_keep_ckpts:]
            self.keep_ckpt_ids.extend([step])  # a deque of max_keep_ckpts
            # With those to be deleted: a run that is killed before it has done so does it when it is resumed.
            runner.message_hub.update_info('keep_ckpt_ids', outdated + kept)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, filename, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta={**meta, 'validated': self._validated},
            by_epoch=self.by_epoch, backend_args=self.backend_args, **self.args)
        if is_main_process():
            pointer = Path(runner.work_dir, 'last_checkpoint')
            pointer.with_suffix('.part').write_text(self.last_ckpt)
            os.replace(pointer.with_suffix('.part'), pointer)
            for old in outdated:
                with contextlib.suppress(FileNotFoundError):
                    self.file_backend.remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))
