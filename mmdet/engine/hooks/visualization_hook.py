from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample

from ..result_names import ResultNames


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draws predictions beside the ground truth during validation and test; off unless `draw`.

    Args:
        interval: every how many validation batches the first image is drawn; a test draws all.
        score_thr: least score of a drawn prediction.
        show, wait_time: in a window, for so many seconds.
        test_out_dir: folder for the pictures of a test, under work_dir/timestamp unless absolute; else the visual
            backends take them. Each has the name of its image, with as many folders as tell equal names apart.
        backend_args: how mmengine.fileio reads the images.
    """

    def __init__(self, draw: bool = False, interval: int = 50, score_thr: float = 0.3, show: bool = False,
                 wait_time: float = 0., test_out_dir: str | None = None, backend_args: dict | None = None):
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.backend_args = backend_args
        self._drawn = 0
        self._names = ResultNames()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: Sequence[DetDataSample] = ()) -> None:
        if self.draw and batch_idx % self.interval == 0:
            self._draw(runner, outputs[0], 'val_img', None, step=runner.iter + batch_idx)

    def before_test(self, runner: Runner) -> None:
        dataset = runner.test_dataloader.dataset
        if self.draw and self.test_out_dir is not None and hasattr(dataset, 'get_data_info'):
            self._names.plan(dataset.get_data_info(i)['img_path'] for i in range(len(dataset)))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence[DetDataSample] = ()) -> None:
        if not self.draw:
            return
        for sample in outputs:
            out_file = None
            if self.test_out_dir is not None:
                folder = Path(runner.work_dir, runner.timestamp, self.test_out_dir)
                out_file = folder / self._names(sample.img_path)
            self._drawn += 1
            self._draw(runner, sample, 'test_img', out_file, step=self._drawn)

    def _draw(self, runner: Runner, sample: DetDataSample, name: str, out_file: Path | None, step: int) -> None:
        image = mmcv.imfrombytes(get(sample.img_path, backend_args=self.backend_args), channel_order='rgb')
        runner.visualizer.add_datasample(
            Path(sample.img_path).name if self.show else name, image, sample, show=self.show, wait_time=self.wait_time,
            pred_score_thr=self.score_thr, out_file=None if out_file is None else str(out_file), step=step)
