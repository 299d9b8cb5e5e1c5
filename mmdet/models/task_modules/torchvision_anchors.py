"""torchvision's anchors."""
from typing import Any

from mmdet.registry import TASK_UTILS

from .anchor_generator import AnchorGenerator


@TASK_UTILS.register_module()
class TorchvisionAnchorGenerator(AnchorGenerator):
    """Anchors with corners on whole pixels, and strides that divide the padded image evenly, rounded down.

    The strides given hold for the first level; 25 rows of stride 32 have 13 rows above them, for which torchvision
    takes a stride of 800 // 13 = 61, not 64. Arguments as AnchorGenerator's; `strides` still give the base sizes.

    Source: torchvision/models/detection/anchor_utils.py, AnchorGenerator.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.base_anchors = [anchors.round() for anchors in self.base_anchors]

    def _strides(self, feature_sizes):
        height, width = (size * stride for size, stride in zip(feature_sizes[0], reversed(self.strides[0])))
        return [(width // w, height // h) for h, w in feature_sizes]
