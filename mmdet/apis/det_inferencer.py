"""DetInferencer: pictures and folders in, predictions, drawings and JSON files out."""
import itertools
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import get
from mmengine.utils import ProgressBar

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.config import literal_config
from mmdet.engine.result_names import ResultNames
from mmdet.errors import UserError
from mmdet.evaluation.coco_metric import encode_masks
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer

from .image_input import as_image, list_images
from .inference import TestPipeline, init_detector, with_bitmaps


class DetInferencer:
    """A detector that reads pictures and writes drawings and JSON files.

    Args:
        model: path of a config or a Config; may be left out for a checkpoint of ours or mmdetection's, which holds one.
        weights: checkpoint.
        device: by default a GPU where there is one.
        palette: see init_detector.
    """

    def __init__(self, model: str | Path | Config | None = None, weights: str | Path | None = None,
                 device: str | None = None, scope: str = 'mmdet', palette: str = 'none', show_progress: bool = True):
        checkpoint = None if weights is None else read_checkpoint(weights)
        if model is None:
            text = (checkpoint or {}).get('meta', {}).get('cfg')
            if not text:
                raise UserError('DetInferencer needs a config (model=...): ' + (
                    'neither config nor weights are given' if weights is None else f'{weights} holds none'))
            model = Config(literal_config(text))
        self.model = init_detector(model, checkpoint, palette, device or 'cuda:0')
        self.cfg = self.model.cfg
        self.pipeline = TestPipeline(self.cfg)
        self.visualizer = DetLocalVisualizer()
        self.visualizer.dataset_meta = self.model.dataset_meta
        self.show_progress = show_progress
        self._num_arrays = 0
        self._names: dict[str, tuple[ResultNames, ResultNames]] = {}  # of each out_dir

    def __call__(self, inputs: Any, batch_size: int = 1, return_vis: bool = False,
                 show: bool = False, wait_time: float = 0, no_save_vis: bool = False, draw_pred: bool = True,
                 pred_score_thr: float = 0.3, return_datasamples: bool = False, print_result: bool = False,
                 no_save_pred: bool = True, out_dir: str = '') -> dict:
        """Detect on an image, the images of a folder, or those that a list or a generator gives.

        An image is what as_image takes, among others a path, a URL or a (H, W, 3) uint8 BGR array.

        Returns dict(predictions=..., visualization=...): per image a dict of labels, scores, bboxes (xyxy pixels) and
        masks (COCO's RLE), or its DetDataSample (return_datasamples). With return_vis, show or out_dir `visualization`
        has the RGB drawings of what scores above pred_score_thr, else it is [].
        out_dir gets vis/NAME.jpg unless no_save_vis, and preds/NAME.json unless no_save_pred; the NAME of equal ones
        begins with their folders.
        """
        images = list_images(inputs)
        results: dict[str, list] = dict(predictions=[], visualization=[])
        vis_names, pred_names = self._names.setdefault(out_dir, (ResultNames(), ResultNames('.json')))
        known = images if isinstance(images, Collection) else ()  # what a generator gives is not known yet
        progress = ProgressBar(len(known)) if self.show_progress and len(known) > 1 else None
        for names in (vis_names, pred_names):
            names.plan(os.fsdecode(image) for image in known if isinstance(image, (str, os.PathLike)))
        remaining = map(as_image, images)
        while batch := list(itertools.islice(remaining, batch_size)):
            samples = self.model.test_step(pseudo_collate([self.pipeline(image) for image in batch]))
            for image, sample in zip(batch, samples, strict=True):
                name = self._result_name(image)
                prediction = with_bitmaps(sample) if return_datasamples else prediction_dict(sample)
                results['predictions'].append(prediction)
                if print_result:
                    print(prediction)
                if out_dir and not no_save_pred:
                    path = Path(out_dir, 'preds', pred_names(name))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(prediction_dict(sample)))
                if return_vis or show or (out_dir and not no_save_vis):
                    vis = vis_names(name)
                    out_file = str(Path(out_dir, 'vis', vis)) if out_dir and not no_save_vis else None
                    self.visualizer.add_datasample(vis, _rgb(image), sample, draw_gt=False, draw_pred=draw_pred,
                                                   show=show, wait_time=wait_time, out_file=out_file,
                                                   pred_score_thr=pred_score_thr)
                    results['visualization'].append(self.visualizer.get_image())
                if progress:
                    progress.update()
        return results

    def _result_name(self, image: str | np.ndarray) -> str:
        if isinstance(image, str):
            return image
        self._num_arrays += 1
        return f'array://{self._num_arrays - 1:08d}.jpg'


def prediction_dict(sample: DetDataSample) -> dict:
    """labels, scores, bboxes and masks (RLE) of a sample's predictions as plain lists."""
    instances = sample.pred_instances
    result = {name: instances[name].tolist() for name in ('labels', 'scores', 'bboxes')}
    if 'masks' in instances:
        result['masks'] = encode_masks(instances.masks)
    return result


def _rgb(image: str | np.ndarray) -> np.ndarray:
    return image[..., ::-1] if isinstance(image, np.ndarray) else mmcv.imfrombytes(get(image), channel_order='rgb')
