"""What a RoI head trains on.

Shapes: B images, R sampled RoIs of an image; Q rows of sampled RoIs of all images, F of them that may be positive.
"""
from typing import NamedTuple

from torch import Tensor


class RoISample(NamedTuple):
    """The RoIs that the losses see, and what each should become."""
    rois: Tensor               # (Q, 5)
    labels: Tensor             # (Q,) int64, K for background
    weight: Tensor             # (Q,) float32, 0 for padding rows
    real: Tensor | None        # (Q,) bool, those that are no padding; None: all
    positive: Tensor           # (F,) int64 rows that may be positive; those labelled K are padding
    gt_boxes: Tensor           # (F, 4)
    foreground: Tensor         # (Q,) bool, those that are positive
    mask_rows: Tensor          # (Q,) int64 rows of gt.masks
    place: Tensor              # (Q,) int64, where each row stands among the B * R
    proposed: Tensor           # (B, R) bool: neither padding nor ground truth that joined the proposals
