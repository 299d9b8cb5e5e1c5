"""Deformable convolutions that predict their own offsets: DCN (arXiv 1703.06211) and DCNv2 (arXiv 1811.11168).

Shapes: x (B, Cin, H, W) -> (B, Cout, H', W'); D deform groups and a window of kh x kw weights.
"""
from mmengine.model import constant_init
from torch import Tensor

from mmdet.ops import Conv2d, deform_conv2d
from mmdet.registry import MODELS


@MODELS.register_module('DCN')
class DeformConv2d(Conv2d):
    """A convolution whose weights read where offsets, which another convolution predicts, move them. With mmcv's names.

    Args:
        deform_groups: groups of input channels that have offsets of their own.
        others: nn.Conv2d's.
    """
    planes = 2  # of conv_offset, for each weight of the window and deform group

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = False, deform_groups: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.deform_groups = deform_groups
        window = self.kernel_size[0] * self.kernel_size[1]
        self.conv_offset = Conv2d(in_channels, self.planes * deform_groups * window, kernel_size, stride, padding,
                                  dilation)
        constant_init(self.conv_offset, 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """As forward, by other weights (Cout, Cin/groups, kh, kw), in which it is linear."""
        return self._deform(x, self.conv_offset(x), weight)

    def _deform(self, x, offset, weight, mask=None):
        return deform_conv2d(x, offset, weight, self.bias, self.stride, self.padding, self.dilation, mask)


@MODELS.register_module('DCNv2')
class ModulatedDeformConv2d(DeformConv2d):
    """DeformConv2d that also predicts, for each offset, how much of what is read there counts, 0 to 1."""
    planes = 3

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        window = self.deform_groups * self.kernel_size[0] * self.kernel_size[1]
        offset, mask = self.conv_offset(x).split([2 * window, window], dim=1)
        return self._deform(x, offset, weight, mask.sigmoid())
