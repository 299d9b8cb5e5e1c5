"""Boxes as offsets from reference boxes."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS
from mmdet.structures import clip_boxes

MAX_LOG_RATIO = abs(math.log(16 / 1000))


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder:
    """Centre shift in units of the reference's size, and log of the size ratio; then (delta - mean) / std.

    Args:
        target_means, target_stds: 4 numbers each.
        clip_border: clip decoded boxes to the image.
        add_ctr_clamp, ctr_clamp: limit the decoded shift of the centre to `ctr_clamp` pixels.

    Source: R-CNN (arXiv 1311.2524) appendix C; the limit on the size ratio is Detectron's, log(1000 / 16).
    """

    def __init__(self, target_means: Sequence[float] = (0., 0., 0., 0.),
                 target_stds: Sequence[float] = (1., 1., 1., 1.), clip_border: bool = True,
                 add_ctr_clamp: bool = False, ctr_clamp: float = 32):
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)
        self.clip_border = clip_border
        self.ctr_clamp = ctr_clamp if add_ctr_clamp else None
        self._constants: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    def encode(self, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """Offsets float32 (..., 4) from `boxes` to `gt_boxes`, both (..., 4) xyxy pixels.

        Padding rows (zero size) give finite numbers, so a weight of 0 silences them.
        """
        size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
        gt_size = (gt_boxes[..., 2:] - gt_boxes[..., :2]).clamp(min=1e-6)
        shift = (gt_boxes[..., :2] + gt_boxes[..., 2:] - boxes[..., :2] - boxes[..., 2:]) * 0.5 / size
        deltas = torch.cat([shift, (gt_size / size).log()], dim=-1)
        means, stds = self._means_and_stds(deltas)
        return (deltas - means) / stds

    def decode(self, boxes: Tensor, deltas: Tensor, image_sizes: Tensor | None = None) -> Tensor:
        """Boxes float32 (..., 4) that `deltas` (..., 4) reach from `boxes` (..., 4).

        Args:
            image_sizes: (..., 2) height and width in pixels, broadcast against the boxes; clips when `clip_border`.
        """
        deltas = deltas.float()
        means, stds = self._means_and_stds(deltas)
        deltas = deltas * stds + means
        size = boxes[..., 2:] - boxes[..., :2]
        shift = deltas[..., :2] * size
        if self.ctr_clamp is not None:
            shift = shift.clamp(-self.ctr_clamp, self.ctr_clamp)
        centre = (boxes[..., :2] + boxes[..., 2:]) * 0.5 + shift
        half = size * deltas[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * 0.5
        decoded = torch.cat([centre - half, centre + half], dim=-1)
        if image_sizes is not None and self.clip_border:
            decoded = clip_boxes(decoded, image_sizes[..., 0], image_sizes[..., 1])
        return decoded

    def _means_and_stds(self, like):
        """Both as tensors (4,) of the dtype and device of `like`; made once, for a copy to the device waits for it."""
        key = like.dtype, like.device
        if key not in self._constants:
            with torch.inference_mode(False):  # training may use them later
                self._constants[key] = [torch.tensor(values, dtype=like.dtype, device=like.device)
                                        for values in (self.means, self.stds)]
        return self._constants[key]
