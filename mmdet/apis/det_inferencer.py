"""DetInferencer: pictures, folders and videos in; predictions, drawings and files out."""
import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.config import innermost
from mmdet.engine.result_names import ResultNames
from mmdet.engine.tta import tta_parts
from mmdet.errors import UserError
from mmdet.literals import literal_config
from mmdet.progress import progress
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.visualization import DetLocalVisualizer

from .ahead import ahead, batched
from .detected import Detected, prediction_dict
from .drawings import Drawings
from .image_input import as_image
from .inference import init_detector, with_bitmaps
from .pipeline import TestPipeline
from .prediction_files import PredictionFiles
from .sources import Picture, count, find_pictures, pictures
from .tiles import Tiling, detect_in_tiles
from .video import Video


class DetInferencer:
    """A detector that reads pictures and writes drawings and JSON files.

    Args:
        model: path of a config or a Config; may be left out for a checkpoint of ours or mmdetection's, which holds one.
        weights: checkpoint.
        device: by default a GPU where there is one.
        palette: see init_detector.
        show_progress: tell on stderr how many pictures are done.
        tta: test-time augmentation, by the config's tta_model and tta_pipeline or mmdetection's defaults.
    """

    def __init__(self, model: str | Path | Config | None = None, weights: str | Path | None = None,
                 device: str | None = None, scope: str | None = 'mmdet', palette: str = 'none',
                 show_progress: bool = True, tta: bool = False):
        checkpoint = None if weights is None else read_checkpoint(weights)
        if model is None:
            text = (checkpoint or {}).get('meta', {}).get('cfg')
            if not text:
                raise UserError('DetInferencer needs a config (model=...): ' + (
                    'neither config nor weights are given' if weights is None else f'{weights} holds none'))
            model = Config(literal_config(text))
        self.model = init_detector(model, checkpoint, palette, device or 'cuda:0')
        self.cfg = self.model.cfg
        self.predictor = self.model
        if tta:
            tta_model, innermost(self.cfg.test_dataloader.dataset)['pipeline'] = tta_parts(self.cfg)
            self.predictor = MODELS.build(dict(tta_model, module=self.model))
        self.pipeline = self._init_pipeline(self.cfg)
        self.visualizer = DetLocalVisualizer()
        self.visualizer.dataset_meta = self.model.dataset_meta
        self.show_progress = show_progress
        self._array_numbers = itertools.count()
        self._names: dict[str, tuple[ResultNames, ResultNames]] = {}  # by out_dir

    def _init_pipeline(self, cfg: Config) -> Any:
        return TestPipeline(cfg)

    @staticmethod
    def _get_transform_idx(pipeline_cfg: list[ConfigDict], name: str) -> int:
        """Where the transform `name` stands in the pipeline; -1 where it does not."""
        return next((i for i, step in enumerate(pipeline_cfg) if step['type'] == name), -1)

    def preprocess(self, inputs: Any, batch_size: int = 1, **kwargs: Any) -> Iterator[tuple[list, dict]]:
        """Batches of images, as given, with what `forward` takes; they are prepared ahead."""
        for batch in batched(ahead(inputs, lambda image: (image, self.pipeline(image))), batch_size):
            yield [image for image, _ in batch], pseudo_collate([packed for _, packed in batch])

    @torch.no_grad()
    def forward(self, inputs: dict, **kwargs: Any) -> SampleList:
        """A batch of `preprocess` -> its DetDataSamples with pred_instances; masks are PastedMasks."""
        return self.predictor.test_step(inputs)

    def postprocess(self, preds: SampleList, visualization: list | None = None, return_datasamples: bool = False,
                    print_result: bool = False, no_save_pred: bool = False, pred_out_dir: str = '',
                    **kwargs: Any) -> dict:
        """dict of predictions and visualization, see `__call__`; predictions go to pred_out_dir unless no_save_pred."""
        predictions = [with_bitmaps(sample) if return_datasamples else prediction_dict(sample) for sample in preds]
        if pred_out_dir and not no_save_pred:
            files = PredictionFiles(pred_out_dir, self._result_names(str(Path(pred_out_dir).parent))[1])
            for sample in preds:
                name = sample.get('img_path') or f'array://{next(self._array_numbers):08d}.jpg'
                files.write(Detected(Picture(name, name), name, sample))
        if print_result:
            for prediction in predictions:
                print(prediction)
        return dict(predictions=predictions, visualization=visualization or [])

    def __call__(self, inputs: Any, batch_size: int | None = None, return_vis: bool = False, show: bool = False,
                 wait_time: float = 0, no_save_vis: bool = False, draw_pred: bool = True, pred_score_thr: float = 0.3,
                 return_datasamples: bool = False, print_result: bool = False, no_save_pred: bool = True,
                 out_dir: str = '', tiling: Tiling | None = None) -> dict:
        """Detect on what find_pictures takes: images, folders, patterns, lists, videos.

        An image is what as_image takes, among others a path, a URL or a (H, W, 3) uint8 BGR array.

        Returns dict(predictions=..., visualization=..., failed=...): per image a dict of labels, scores, bboxes (xyxy
        pixels) and masks (COCO's RLE), or its DetDataSample (return_datasamples). With return_vis, show or out_dir
        `visualization` has the RGB drawings of what scores above pred_score_thr, else it is [].
        out_dir gets vis/NAME.jpg unless no_save_vis, and preds/NAME.json unless no_save_pred; the NAME of equal ones
        begins with their folders. Of a video it gets one video and one JSON.
        Of several images those that cannot be read are logged and None in `predictions`, and `failed` has the error of
        each name. One that is given alone raises UserError.
        """
        found = find_pictures(inputs, leave_out=out_dir or None)
        vis_names, pred_names = self._result_names(out_dir)
        plan_names(found, vis_names, pred_names)
        results: dict[str, Any] = dict(predictions=[], visualization=[], failed={})
        with ExitStack() as stack:
            files = drawings = None
            if out_dir and not no_save_pred:
                files = stack.enter_context(closing(PredictionFiles(Path(out_dir, 'preds'), pred_names)))
            if return_vis or show or (out_dir and not no_save_vis):
                folder = Path(out_dir, 'vis') if out_dir and not no_save_vis else None
                drawings = stack.enter_context(closing(Drawings(self.visualizer, vis_names, folder, show, wait_time,
                                                                draw_pred, pred_score_thr)))
            for detected in self.with_progress(self.stream(found, batch_size, tiling), count(found)):
                if detected.sample is None:
                    if isinstance(found, list) and len(found) == 1:
                        raise detected.error  # type: ignore[misc]  # there is one
                    print_log(f'left out: {detected.error}', 'current', logging.WARNING)
                    results['predictions'].append(None)
                    results['failed'][detected.picture.name] = str(detected.error)
                    continue
                if files:
                    files.write(detected)
                if drawings:
                    results['visualization'].append(drawings.write(detected))
                results['predictions'] += self.postprocess([detected.sample], None, return_datasamples,
                                                           print_result)['predictions']
        return results

    def with_progress(self, results: Iterator[Detected], total: int | None) -> Iterator[Detected]:
        """The same, and on stderr how many there were and how long the rest will take."""
        return progress(results, 'detecting', total) if self.show_progress and total != 1 else results

    def stream(self, found: Iterable, batch_size: int | None = None, tiling: Tiling | None = None,
               workers: int = 2) -> Iterator[Detected]:
        """What is detected on each of the pictures, in their order. A picture that cannot be read has an `error`.

        Neither pictures nor results are kept, so any number can be given.

        Args:
            found: what find_pictures returns, or as much of it as is wanted.
            batch_size: pictures (tiles, with `tiling`) at a time; by default what the device's memory suggests.
            tiling: cut pictures into tiles; None: look at each as a whole.
            workers: threads that read and prepare pictures ahead.
        """
        batch_size = batch_size or self._suggested_batch_size()
        named = pictures(found, self._array_numbers)
        if tiling is not None:
            for read in ahead(named, self._read, workers=1, depth=1):
                if read.error is None:
                    assert not isinstance(read.image, str)
                    read.sample = detect_in_tiles(read.image, tiling.check(), self.pipeline,
                                                  lambda tiles: self.forward(pseudo_collate(tiles)), batch_size)
                yield read
            return
        for batch in batched(ahead(named, self._prepare, workers, 2 * batch_size + workers), batch_size):
            good = [packed for _, packed in batch if packed is not None]
            samples = iter(self.forward(pseudo_collate(good)) if good else ())
            for detected, packed in batch:
                detected.sample = None if packed is None else next(samples)
                yield detected

    def _suggested_batch_size(self) -> int:
        """On a CPU batches bring nothing. On a GPU a picture takes about 1.5 GiB at most."""
        device = next(self.model.parameters()).device
        return 1 if device.type != 'cuda' else min(max(torch.cuda.mem_get_info(device)[0] // (3 << 29), 1), 8)

    def _prepare(self, picture: Picture) -> tuple[Detected, dict | None]:
        try:
            image = _image_of(picture)
            return Detected(picture, image), self.pipeline(image)
        except UserError as error:
            return Detected(picture, picture.name, error=error), None

    def _read(self, picture: Picture) -> Detected:
        try:
            return Detected(picture, self.pipeline.load(_image_of(picture)))
        except UserError as error:
            return Detected(picture, picture.name, error=error)

    def _result_names(self, out_dir: str) -> tuple[ResultNames, ResultNames]:
        """Those of drawings and of JSON files in out_dir, which remember what they have named."""
        return self._names.setdefault(out_dir, (ResultNames(), ResultNames('.json')))


def _image_of(picture: Picture) -> str | np.ndarray:
    if isinstance(picture.image, UserError):
        raise picture.image
    return as_image(picture.image)


def plan_names(found: Iterable, *names: ResultNames) -> None:
    """Choose names of one form for all pictures, as far as they are known; what a generator gives is not known yet."""
    known = found if isinstance(found, list) else []
    for planned in names:
        planned.plan(item if isinstance(item, str) else item.name for item in known if isinstance(item, (str, Video)))
