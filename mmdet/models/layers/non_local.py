"""Non-local block (arXiv 1711.07971): every position attends to all others of its image."""
from mmengine.model import constant_init, normal_init
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.registry import MODELS

from .conv_norm import ConvModule


@MODELS.register_module()
class NonLocal2d(nn.Module):
    """x + conv_out(softmax(theta(x) phi(x)) g(x)): (B, C, H, W) -> (B, C, H, W). With mmcv's names.

    Args:
        in_channels: C.
        reduction: theta, phi and g have C / reduction channels.
        use_scale: divide the products by the square root of these.
        conv_cfg, norm_cfg: of the convolutions; the norm is conv_out's alone.
        mode: 'embedded_gaussian'; mmcv's others are not defined here.
    """
    _abbr_ = 'nonlocal_block'

    def __init__(self, in_channels: int, reduction: int = 2, use_scale: bool = True, conv_cfg: dict | None = None,
                 norm_cfg: dict | None = None, mode: str = 'embedded_gaussian'):
        super().__init__()
        if mode != 'embedded_gaussian':
            raise UserError(f"NonLocal2d: mode={mode!r}: only 'embedded_gaussian' is defined here")
        self.use_scale = use_scale
        width = max(in_channels // reduction, 1)
        self.g, self.theta, self.phi = (ConvModule(in_channels, width, 1, conv_cfg=conv_cfg, act_cfg=None)
                                        for _ in range(3))
        self.conv_out = ConvModule(width, in_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None)
        for module in (self.g, self.theta, self.phi):
            normal_init(module.conv, std=0.01)
        constant_init(self.conv_out.norm or self.conv_out.conv, 0)  # so it begins as the identity

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (conv(x).flatten(2).mT for conv in (self.theta, self.phi, self.g))
        y = F.scaled_dot_product_attention(theta, phi, g, scale=None if self.use_scale else 1.)
        return x + self.conv_out(y.mT.unflatten(2, x.shape[2:]))
