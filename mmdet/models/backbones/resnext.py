"""ResNeXt (arXiv 1611.05431): ResNet whose bottlenecks' 3x3 convolutions are grouped. Shapes are ResNet's."""
from typing import Any

from mmdet.registry import MODELS

from .resnet import ResNet


@MODELS.register_module()
class ResNeXt(ResNet):
    """ResNeXt-50, 101 or 152 without its classifier.

    Args:
        groups: of the 3x3 convolutions, 32 in ResNeXt-101 32x4d.
        base_width: channels of a group in stage 1, 4 in ResNeXt-101 32x4d.
        others: ResNet's. `dcn.fallback_on_stride` changes nothing here, as in mmdetection.
    """
    arch_settings = {depth: ResNet.arch_settings[depth] for depth in (50, 101, 152)}

    def __init__(self, groups: int = 1, base_width: int = 4, dcn: dict | None = None, **kwargs: Any):
        self.block_options = dict(groups=groups, base_width=base_width, base_channels=kwargs.get('base_channels', 64))
        super().__init__(dcn=dcn and {**dcn, 'fallback_on_stride': False}, **kwargs)
