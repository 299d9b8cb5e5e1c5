"""Anchors of all feature levels, joined.

Shapes: A anchors of all levels (level after level, row by row, the anchors of one location side by side), B images.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.errors import UserError
from mmdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class AnchorGenerator:
    """One anchor for every scale and aspect ratio, centred on every location of every level.

    Args:
        strides: pixels between two locations, for each level.
        ratios: height over width of the anchors.
        scales: side of the square anchor in units of the level's base size.
        base_sizes: pixels that a scale of 1 stands for, for each level; the strides unless given.
        octave_base_scale, scales_per_octave: in place of `scales`: octave_base_scale * 2^(i / scales_per_octave).
        center_offset: centre of the first anchor in units of the base size (0: the pixel corner).

    Source: Faster R-CNN (arXiv 1506.01497) section 3.1; the numbers follow mmdetection 3.3's AnchorGenerator.
    """

    def __init__(self, strides: Sequence[int | tuple[int, int]], ratios: Sequence[float],
                 scales: Sequence[float] | None = None, base_sizes: Sequence[float] | None = None,
                 octave_base_scale: float | None = None, scales_per_octave: int | None = None,
                 center_offset: float = 0.):
        if (scales is None) == (octave_base_scale is None or scales_per_octave is None):
            raise UserError('anchor_generator needs either scales or both octave_base_scale and scales_per_octave')
        if octave_base_scale is not None and scales_per_octave is not None:
            scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        self.strides = [stride if isinstance(stride, (tuple, list)) else (stride, stride) for stride in strides]
        self.center_offset = center_offset
        ratio, scale = (torch.tensor(values, dtype=torch.float32) for values in (ratios, scales))
        self.base_anchors = [self._base(size, ratio[:, None], scale[None])
                             for size in base_sizes or [min(stride) for stride in self.strides]]
        self._bases: dict[torch.device, list[Tensor]] = {}
        self._grids: dict[tuple, list[Tensor]] = {}

    @property
    def num_base_anchors(self) -> int:
        """Anchors of one location."""
        return len(self.base_anchors[0])

    def __call__(self, feature_sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
        """Anchors for levels of the given (height, width): float32 (A, 4) xyxy pixels. Kept for the next call."""
        return self._grid(feature_sizes, device)[0]

    def valid(self, feature_sizes: Sequence[tuple[int, int]], padded_sizes: Tensor) -> Tensor:
        """bool (B, A): the anchor's location lies in its own image padded to the size divisor, not only in the batch.

        Args:
            padded_sizes: (B, 2) height and width of each padded image in pixels.
        """
        corners = self._grid(feature_sizes, padded_sizes.device)[1]
        return (corners[None] < padded_sizes[:, None, :]).all(-1)

    def _grid(self, feature_sizes, device):
        if torch.compiler.is_exporting():  # sizes are symbols
            return self._make(feature_sizes, device)
        key = (tuple(map(tuple, feature_sizes)), device)
        if key not in self._grids:
            if len(self._grids) >= 64:  # multi-scale training sees many sizes
                self._grids.pop(next(iter(self._grids)))
            self._grids[key] = self._make(feature_sizes, device)
        return self._grids[key]

    def _make(self, feature_sizes, device):
        if len(feature_sizes) != len(self.strides):
            raise UserError(f'anchor_generator has {len(self.strides)} strides for {len(feature_sizes)} levels; '
                            "make neck.num_outs and anchor_generator.strides agree")
        if device not in self._bases:  # images of a new size then make the device wait no more
            self._bases[device] = [base.to(device) for base in self.base_anchors]
        levels = [self._level(*level) for level in
                  zip(feature_sizes, self._strides(feature_sizes), self._bases[device])]
        return [torch.cat(part) for part in zip(*levels)]

    def _base(self, size, ratios, scales):
        """Anchors (ratios * scales, 4) at the first location of a level of base size `size`."""
        w, h = (size / ratios.sqrt() * scales).flatten(), (size * ratios.sqrt() * scales).flatten()
        c = self.center_offset * size
        return torch.stack([c - w / 2, c - h / 2, c + w / 2, c + h / 2], dim=1)

    def _strides(self, feature_sizes):
        return self.strides

    @staticmethod
    def _level(size, stride, base):
        y, x = (torch.arange(n, device=base.device) * step for n, step in zip(size, reversed(stride)))
        y, x = torch.meshgrid(y, x, indexing='ij')
        corners = torch.stack([y, x], dim=-1).reshape(-1, 1, 2).float()
        anchors = corners.flip(-1).repeat(1, 1, 2) + base[None]
        return anchors.reshape(-1, 4), corners.expand(-1, len(base), 2).reshape(-1, 2)
