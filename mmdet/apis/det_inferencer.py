"""DetInferencer: pictures and folders in, predictions, drawings and JSON files out."""
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import get
from mmengine.utils import ProgressBar

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.config import literal_config
from mmdet.errors import MissingFileError, UserError
from mmdet.evaluation.coco_metric import encode_masks
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer

from .inference import TestPipeline, init_detector, with_bitmaps

IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp'}


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

    def __call__(self, inputs: str | Path | np.ndarray | Sequence, batch_size: int = 1, return_vis: bool = False,
                 show: bool = False, wait_time: float = 0, no_save_vis: bool = False, draw_pred: bool = True,
                 pred_score_thr: float = 0.3, return_datasamples: bool = False, print_result: bool = False,
                 no_save_pred: bool = True, out_dir: str = '') -> dict:
        """Detect on a path, a URL, a folder, a (H, W, 3) uint8 BGR array, or a list of these.

        Returns dict(predictions=..., visualization=...): per image a dict of labels, scores, bboxes (xyxy pixels) and
        masks (COCO's RLE), or its DetDataSample (return_datasamples). With return_vis, show or out_dir `visualization`
        has the RGB drawings of what scores above pred_score_thr, else it is [].
        out_dir gets vis/NAME.jpg unless no_save_vis, and preds/NAME.json unless no_save_pred.
        """
        images = self._list(inputs)
        results: dict[str, list] = dict(predictions=[], visualization=[])
        progress = ProgressBar(len(images)) if self.show_progress and len(images) > 1 else None
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            samples = self.model.test_step(pseudo_collate([self.pipeline(image) for image in batch]))
            for image, sample in zip(batch, samples, strict=True):
                name = self._file_name(image)
                prediction = with_bitmaps(sample) if return_datasamples else prediction_dict(sample)
                results['predictions'].append(prediction)
                if print_result:
                    print(prediction)
                if out_dir and not no_save_pred:
                    path = Path(out_dir, 'preds', f'{Path(name).stem}.json')
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(prediction_dict(sample)))
                if return_vis or show or (out_dir and not no_save_vis):
                    out_file = str(Path(out_dir, 'vis', name)) if out_dir and not no_save_vis else None
                    self.visualizer.add_datasample(name, _rgb(image), sample, draw_gt=False, draw_pred=draw_pred,
                                                   show=show, wait_time=wait_time, out_file=out_file,
                                                   pred_score_thr=pred_score_thr)
                    results['visualization'].append(self.visualizer.get_image())
                if progress:
                    progress.update()
        return results

    def _list(self, inputs: str | Path | np.ndarray | Sequence) -> list:
        if isinstance(inputs, (str, Path)) and Path(inputs).is_dir():
            images = sorted(path for path in Path(inputs).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
            if not images:
                raise MissingFileError(f'folder {inputs} holds no image ({", ".join(sorted(IMAGE_SUFFIXES))})')
            return images
        return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]

    def _file_name(self, image: str | Path | np.ndarray) -> str:
        if not isinstance(image, np.ndarray):
            return Path(str(image)).name
        self._num_arrays += 1
        return f'{self._num_arrays - 1:08d}.jpg'


def prediction_dict(sample: DetDataSample) -> dict:
    """labels, scores, bboxes and masks (RLE) of a sample's predictions as plain lists."""
    instances = sample.pred_instances
    result = {name: instances[name].tolist() for name in ('labels', 'scores', 'bboxes')}
    if 'masks' in instances:
        result['masks'] = encode_masks(instances.masks)
    return result


def _rgb(image: str | Path | np.ndarray) -> np.ndarray:
    if isinstance(image, np.ndarray):
        return image[..., ::-1]
    return mmcv.imfrombytes(get(str(image)), channel_order='rgb')
