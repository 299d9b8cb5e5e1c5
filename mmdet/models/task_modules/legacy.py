"""Anchors and box coding of the frameworks that count a box's pixels inclusively: its width is x2 - x1 + 1.

Those are Detectron, maskrcnn-benchmark and mmdetection 1.x. `detectron=True` gives Detectron's numbers; without it they
are those of mmdetection 3.x's classes of the same names, which differ from Detectron's.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS
from mmdet.structures import clip_boxes

from .anchor_generator import AnchorGenerator
from .bbox_coder import DeltaXYWHBBoxCoder


@TASK_UTILS.register_module()
class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors with corners on whole pixels, both corners inside the anchor.

    Args:
        detectron: where to round. False: the corners, last of all. True: width and height of each aspect ratio at the
            base size, before they are scaled, so that an anchor of stride 4, scale 8 and ratio 0.5 is 48 x 24 pixels
            and not 46 x 23; the level's stride must be its base size, as in Detectron.
        others: as AnchorGenerator's. With center_offset=0.5 the first anchor is centred on (base size - 1) / 2, the
            middle of the first cell; Detectron and mmdetection 1.x have no other.

    Source: generate_anchors of py-faster-rcnn and Detectron; mmdetection 3.3's LegacyAnchorGenerator.
    """

    def __init__(self, *args: Any, detectron: bool = False, **kwargs: Any):
        self.detectron = detectron
        super().__init__(*args, **kwargs)

    def _base(self, size, ratios, scales):
        if self.detectron:
            w = (size ** 2 / ratios).sqrt().round()
            h = (w * ratios).round()
        else:
            w, h = size / ratios.sqrt(), size * ratios.sqrt()
        right, bottom = ((w * scales).flatten() - 1) / 2, ((h * scales).flatten() - 1) / 2
        c = self.center_offset * (size - 1)
        anchors = torch.stack([c - right, c - bottom, c + right, c + bottom], dim=1)
        return anchors if self.detectron else anchors.round()


@TASK_UTILS.register_module()
class LegacyDeltaXYWHBBoxCoder(DeltaXYWHBBoxCoder):
    """DeltaXYWHBBoxCoder with widths x2 - x1 + 1, clipped to the last pixel: x <= width - 1, y <= height - 1.

    Args:
        target_means, target_stds: 4 numbers each.
        detectron: corners of a decoded box of width w are w - 1 apart, so that decode undoes encode. False: as in
            mmdetection 3.3 they are w apart, so that a decoded box is half a pixel larger on every side.

    Source: bbox_transform and bbox_transform_inv of Detectron (which has no limit on how far a box shrinks; here it is
    that of DeltaXYWHBBoxCoder, 1.6 percent); mmdetection 3.3's LegacyDeltaXYWHBBoxCoder.
    """

    def __init__(self, target_means: Sequence[float] = (0., 0., 0., 0.),
                 target_stds: Sequence[float] = (1., 1., 1., 1.), detectron: bool = False):
        super().__init__(target_means, target_stds)
        self.detectron = detectron

    def encode(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Offsets float32 (..., 4) from `boxes` to `gt_boxes`, both (..., 4) xyxy pixels; finite for padding rows."""
        return super().encode(_shift_corners(boxes, 0, 1), _shift_corners(gt_boxes, 0, 1))

    def decode(self, boxes: Tensor, deltas: Tensor, image_sizes: Tensor | None = None) -> Tensor:
        """Boxes float32 (..., 4) that `deltas` (..., 4) reach from `boxes` (..., 4).

        Args:
            image_sizes: (..., 2) height and width in pixels, broadcast against the boxes; clips.
        """
        decoded = super().decode(_shift_corners(boxes, 0, 1), deltas)
        decoded = _shift_corners(decoded, 0, -1) if self.detectron else _shift_corners(decoded, -0.5, -0.5)
        if image_sizes is not None:
            decoded = clip_boxes(decoded, image_sizes[..., 0] - 1, image_sizes[..., 1] - 1)
        return decoded


def _shift_corners(boxes, near, far):
    return torch.cat([boxes[..., :2] + near, boxes[..., 2:] + far], dim=-1)
