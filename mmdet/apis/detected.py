"""What was found on one picture."""
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from mmdet.errors import UserError
from mmdet.evaluation.coco_metric import encode_masks
from mmdet.structures import DetDataSample, to_host

from .sources import Picture


@dataclass
class Record:
    """A picture's detections as plain values.

    prediction: lists of labels, scores, bboxes (xyxy pixels) and, of a model with masks, masks (COCO's RLE).
    image: its path or URL, or (H, W, 3) BGR.
    """
    name: str
    height: int
    width: int
    prediction: dict
    image: str | np.ndarray

    def above(self, score_thr: float) -> 'Record':
        """The same with what scores above the threshold."""
        keep = [i for i, score in enumerate(self.prediction['scores']) if score > score_thr]
        return replace(self, prediction={name: [values[i] for i in keep] for name, values in self.prediction.items()})


@dataclass
class Detected:
    """A picture, and what was found on it, or the error that says why it could not be read.

    image: path or URL, or (H, W, 3) BGR.
    """
    picture: Picture
    image: str | np.ndarray
    sample: DetDataSample | None = None
    error: UserError | None = None

    @cached_property
    def record(self) -> Record:
        assert self.sample is not None
        height, width = self.sample.ori_shape[:2]
        image = self.picture.image if isinstance(self.picture.image, str) else self.image
        return Record(self.picture.name, int(height), int(width), prediction_dict(self.sample), image)


def prediction_dict(sample: DetDataSample) -> dict:
    """labels, scores, bboxes and masks (RLE) of a sample's predictions as plain lists."""
    instances = sample.pred_instances
    names = 'labels', 'scores', 'bboxes'
    result = dict(zip(names, map(Tensor.tolist, to_host([instances[name] for name in names])), strict=True))
    if 'masks' in instances:
        result['masks'] = encode_masks(instances.masks)
    return result
