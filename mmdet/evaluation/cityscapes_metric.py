"""CityScapesMetric: instance AP as the scripts of Cityscapes count it."""
import contextlib
import copy
import io
import os
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from pycocotools import mask as mask_api

from mmdet.errors import MissingFileError, UserError
from mmdet.registry import METRICS

from .coco_metric import encode_masks


@METRICS.register_module()
class CityScapesMetric(BaseMetric):
    """cityscapes/mAP (mean over classes and IoU 0.5, 0.55, ..., 0.95) and AP@50, by cityscapesscripts.

    The predictions go into OUTFILE_PREFIX/results in the form that the server of Cityscapes takes: of each picture
    NAME_pred.txt with a line "mask.png label confidence" for each instance, and the masks.

    Args:
        outfile_prefix: folder for the predictions.
        seg_prefix: folder of CITY/NAME_gtFine_instanceIds.png; not needed with format_only.
        format_only: only write the predictions.
        dump_matches, backend_args: accepted for mmdetection's configs; the files are local.
        collect_device, prefix: see mmengine's BaseMetric.

    Raises:
        ValueError: cityscapesscripts is not installed, seg_prefix is missing, or the model predicts no masks.
        FileNotFoundError: the ground truth of a picture is not there.
    """
    default_prefix = 'cityscapes'

    def __init__(self, outfile_prefix: str, seg_prefix: str | None = None, format_only: bool = False,
                 collect_device: str = 'cpu', prefix: str | None = None, dump_matches: bool = False,
                 backend_args: dict | None = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        try:
            from cityscapesscripts.helpers.labels import name2label
        except ImportError as error:
            raise UserError(f"CityScapesMetric needs cityscapesscripts ({error}): pip install "
                            "'mmdet-norms[cityscapes]'") from None
        if seg_prefix is None and not format_only:
            raise UserError('CityScapesMetric needs seg_prefix, the folder of the ground truth (gtFine/val), or '
                            'format_only=True')
        self.ids = {name: label.id for name, label in name2label.items()}
        self.folder = Path(outfile_prefix, 'results')
        self.seg_prefix, self.format_only = seg_prefix, format_only

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Write the predictions of a batch."""
        classes = (self.dataset_meta or {}).get('classes', ())
        unknown = [name for name in classes if name not in self.ids]
        if unknown:
            raise UserError(f'CityScapesMetric: the classes {unknown} of the data set are none of Cityscapes')
        self.folder.mkdir(parents=True, exist_ok=True)
        for sample in data_samples:
            picture, predictions = Path(sample['img_path']), sample['pred_instances']
            if 'masks' not in predictions:
                raise UserError('CityScapesMetric needs masks; the model predicts none: use CocoMetric')
            listed = self.folder / f'{picture.stem}_pred.txt'
            if listed.exists():  # of an earlier evaluation
                for line in listed.read_text().splitlines():
                    (self.folder / Path(line.partition(' ')[0]).name).unlink(missing_ok=True)
            lines = []
            for i, (rle, label, score) in enumerate(zip(encode_masks(predictions['masks']),
                                                        predictions['labels'].tolist(),
                                                        predictions['scores'].tolist(), strict=True)):
                name = f'{picture.stem}_{i}_{classes[label]}.png'
                cv2.imwrite(str(self.folder / name), mask_api.decode(rle) * 255)
                lines.append(f'{name} {self.ids[classes[label]]} {score}\n')
            listed.write_text(''.join(lines))
            self.results.append((str(listed), '' if self.format_only else self._ground_truth(picture)))

    def _ground_truth(self, picture: Path) -> str:
        """The file of instance ids of a picture: in seg_prefix/CITY, or where Cityscapes has it beside leftImg8bit."""
        name = picture.stem.removesuffix('_leftImg8bit') + '_gtFine_instanceIds.png'
        beside = Path(str(picture.parent).replace('leftImg8bit', 'gtFine'), name)
        places = [Path(str(self.seg_prefix), picture.parent.name, name), Path(str(self.seg_prefix), name), beside]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise MissingFileError(f'{places[0]}, the ground truth of {picture}, does not exist: check seg_prefix of '
                                   'CityScapesMetric')
        return str(found)

    def compute_metrics(self, results: list[tuple[str, str]]) -> dict[str, float]:
        """Evaluate the predictions of all processes, each picture once."""
        print_log(f'predictions written to {self.folder}', 'current')
        if self.format_only:
            return {}
        from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as scripts
        from cityscapesscripts.evaluation.instances2dict import instances2dict
        predictions, truths = map(list, zip(*dict(results).items(), strict=True))
        args = copy.copy(scripts.args)
        args.quiet, args.predictionPath = True, os.path.abspath(self.folder)
        scripts.setInstanceLabels(args)
        # The scripts ask for a name that NumPy 2.4 has no more.
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.object(np, 'in1d', np.isin, create=True):
            matches = scripts.matchGtWithPreds(predictions, truths, instances2dict(truths, False), args)
            averages = scripts.computeAverages(scripts.evaluateMatches(matches, args), args)
        return {'mAP': float(averages['allAp']), 'AP@50': float(averages['allAp50%'])}
