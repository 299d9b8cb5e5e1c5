from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.registry import HOOKS
from mmdet.report import EVALUATED, Run


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes report.html and results.csv into the work dir after each validation of a training, and at its end.

    What the last validation found is kept beside it, so that tools/report.py can make the page anew.
    """
    priority = 'LOW'  # after the logger, whose lines are drawn
    path: Path | None = None  # of the report, once it is written
    iteration = -1  # that it tells of

    def before_val(self, runner: Runner) -> None:
        for metric in self._metrics(runner):
            metric.keep_evaluated = True

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        evaluated = next((metric.evaluated for metric in self._metrics(runner) if metric.evaluated), None)
        for metric in self._metrics(runner):
            metric.evaluated = None
        if not is_main_process() or runner._train_loop is None:
            return
        if evaluated is not None:
            evaluated.save(Path(runner.work_dir, EVALUATED))
        self._write(runner)
        if self.path:
            runner.logger.info(f'Losses, AP and pictures so far: {self.path}')

    def after_train(self, runner: Runner) -> None:
        if is_main_process():
            if self.iteration != runner.iter:
                self._write(runner)
            if self.path:
                runner.logger.info(f'The report of this training: {self.path}')

    @staticmethod
    def _metrics(runner: Runner) -> list[Any]:
        loop = runner.val_loop
        return [metric for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ())
                if hasattr(metric, 'keep_evaluated')]

    def _write(self, runner: Runner) -> None:
        from mmdet.report.page import write_report
        from mmdet.report.results_csv import write_results
        try:
            path = Path(runner.cfg.filename or '')
            source = path.read_text(encoding='utf-8') if path.is_file() else ''
            run = Run.open(Path(runner.work_dir))
            write_results(run)
            self.path, self.iteration = write_report(run.folder, [run], source=source), runner.iter
        except Exception as error:  # a training does not end for want of a picture of it
            self.path = None
            runner.logger.warning(f'the report cannot be written: {type(error).__name__}: {error}')
