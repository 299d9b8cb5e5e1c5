"""Balanced Feature Pyramid of Libra R-CNN (arXiv 1904.02701), which follows an FPN in a list of necks.

Shapes: level l in and out (B, in_channels, H_l, W_l).
"""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.models.layers import ConvModule, NonLocal2d
from mmdet.registry import MODELS


@MODELS.register_module()
class BFP(BaseModule):
    """Adds to every level the mean of all levels, taken at one level's size and refined there.

    Args:
        in_channels, num_levels: of the levels.
        refine_level: the level whose size the mean has, 0 the finest.
        refine_type: None, 'conv' or 'non_local'.
        conv_cfg, norm_cfg: of what refines.
    """

    def __init__(self, in_channels: int, num_levels: int, refine_level: int = 2, refine_type: str | None = None,
                 conv_cfg: dict | None = None, norm_cfg: dict | None = None,
                 init_cfg: dict | None = dict(type='Xavier', layer='Conv2d', distribution='uniform')):
        super().__init__(init_cfg)
        if refine_type not in (None, 'conv', 'non_local') or not 0 <= refine_level < num_levels:
            raise UserError(f"neck.refine_type={refine_type!r} must be None, 'conv' or 'non_local', and "
                            f'refine_level={refine_level} one of the num_levels={num_levels}')
        self.num_levels = num_levels
        self.refine_level = refine_level
        self.refine: nn.Module | None = None
        if refine_type == 'conv':
            self.refine = ConvModule(in_channels, in_channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        elif refine_type == 'non_local':
            self.refine = NonLocal2d(in_channels, reduction=1, use_scale=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """num_levels feature maps, finest first -> as many."""
        if len(inputs) != self.num_levels:
            raise UserError(f'neck.num_levels={self.num_levels}, but there are {len(inputs)} levels')
        size = inputs[self.refine_level].shape[2:]
        mean = sum(_resize(x, size, i < self.refine_level) for i, x in enumerate(inputs)) / self.num_levels
        if self.refine is not None:
            mean = self.refine(mean)
        return tuple(x + _resize(mean, x.shape[2:], i > self.refine_level) for i, x in enumerate(inputs))


def _resize(x, size, smaller):
    if x.shape[2:] == size:
        return x
    return F.adaptive_max_pool2d(x, size) if smaller else F.interpolate(x, size)
