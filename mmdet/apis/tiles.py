"""Large pictures in overlapping tiles, their detections merged."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mmengine.structures import InstanceData

from mmdet.errors import UserError
from mmdet.structures import DetDataSample, SampleList, merge_instances
from mmdet.structures.mask import PastedMasks

from .ahead import ahead, batched


class Tiling(NamedTuple):
    """How pictures are cut into tiles.

    size: side of a tile in pixels, or (height, width).
    overlap: share of a tile that the next one shows again, 0 up to 1; what is no larger lies whole on some tile.
    iou_threshold: of detections of one class that overlap by more, the best-scored stays.
    """
    size: int | tuple[int, int]
    overlap: float = 0.2
    iou_threshold: float = 0.25

    def check(self) -> 'Tiling':
        """Itself. Raises UserError for numbers that cannot be."""
        if min(self.sides) < 1:
            raise UserError(f'the size of tiles is {self.size}, but must be 1 pixel or more')
        if not 0 <= self.overlap < 1:
            raise UserError(f'the overlap of tiles is {self.overlap}, but must be from 0 to less than 1')
        if not 0 <= self.iou_threshold <= 1:
            raise UserError(f'the IoU from which tiles are merged is {self.iou_threshold}, but must be from 0 to 1')
        return self

    @property
    def sides(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def windows(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """x1, y1, x2, y2 of the tiles of a picture, row by row; the last of a row or column is moved inside."""
        rows, columns = (_spans(length, side, self.overlap) for length, side in
                         zip((height, width), self.sides, strict=True))
        return [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    side = min(side, length)
    step = max(side - int(overlap * side), 1)
    starts = [*range(0, length - side, step), length - side]
    return [(start, start + side) for start in starts]


def detect_in_tiles(image: np.ndarray, tiling: Tiling, pipeline: Callable[[np.ndarray], dict],
                    predict: Callable[[list[dict]], SampleList], batch_size: int) -> DetDataSample:
    """A sample with the pred_instances of the whole image (H, W, 3), best first.

    Args:
        pipeline: turns a tile into the model's input. predict: turns several of these into samples.
    """
    height, width = image.shape[:2]
    windows = tiling.windows(height, width)
    tiles = ahead(windows, lambda window: pipeline(_crop(image, window)), depth=2 * batch_size)
    found = (sample for batch in batched(tiles, batch_size) for sample in predict(batch))
    shifted = [_shifted(sample.pred_instances, window, height, width)
               for window, sample in zip(windows, found, strict=True)]
    sample = DetDataSample(metainfo=dict(img_id=0, img_path=None, ori_shape=(height, width),
                                         img_shape=(height, width), scale_factor=(1., 1.)))
    sample.pred_instances = merge_instances(shifted, tiling.iou_threshold)
    return sample


def _crop(image: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    x1, y1, x2, y2 = window
    return image[y1:y2, x1:x2]


def _shifted(instances: InstanceData, window: tuple[int, int, int, int], height: int, width: int) -> InstanceData:
    boxes = instances.bboxes + instances.bboxes.new_tensor(window[:2]).repeat(2)
    moved = InstanceData(bboxes=boxes, scores=instances.scores, labels=instances.labels)
    if 'masks' in instances:
        masks: PastedMasks = instances.masks
        moved.masks = PastedMasks(masks.probs, boxes, height, width, masks.threshold)
    return moved
