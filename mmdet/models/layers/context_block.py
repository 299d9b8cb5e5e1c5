"""Global context block of GCNet (arXiv 1904.11492)."""
from collections.abc import Sequence

from mmengine.model import constant_init, kaiming_init
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.ops import Conv2d
from mmdet.registry import MODELS

FUSIONS = ('channel_add', 'channel_mul')


@MODELS.register_module()
class ContextBlock(nn.Module):
    """Adds to every position what one vector of the whole image says: (B, C, H, W) -> (B, C, H, W). With mmcv's names.

    Args:
        in_channels: C.
        ratio: channels of the transform's middle, as a share of C.
        pooling_type: 'att', a mean weighted by a softmax over the positions, or 'avg'.
        fusion_types: 'channel_add', 'channel_mul' or both: what the vector does to each channel.
    """
    _abbr_ = 'context_block'

    def __init__(self, in_channels: int, ratio: float, pooling_type: str = 'att',
                 fusion_types: Sequence[str] = ('channel_add',)):
        super().__init__()
        if pooling_type not in ('att', 'avg') or not fusion_types or not {*fusion_types} <= {*FUSIONS}:
            raise UserError(f"ContextBlock: pooling_type={pooling_type!r} must be 'att' or 'avg', and "
                            f'fusion_types={fusion_types} some of {FUSIONS}')
        middle = int(in_channels * ratio)
        self.conv_mask = Conv2d(in_channels, 1, 1) if pooling_type == 'att' else None
        if self.conv_mask is not None:
            kaiming_init(self.conv_mask, mode='fan_in')

        def transform():
            last = nn.Conv2d(middle, in_channels, 1)
            constant_init(last, 0)  # so it begins as the identity
            return nn.Sequential(nn.Conv2d(in_channels, middle, 1), nn.LayerNorm([middle, 1, 1]),
                                 nn.ReLU(inplace=True), last)
        self.channel_add_conv = transform() if 'channel_add' in fusion_types else None
        self.channel_mul_conv = transform() if 'channel_mul' in fusion_types else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv_mask is None:
            context = x.mean((2, 3), keepdim=True)
        else:
            weights = self.conv_mask(x).flatten(2).softmax(2)  # (B, 1, H * W)
            context = (x.flatten(2) @ weights.mT)[..., None]
        if self.channel_mul_conv is not None:
            x = x * self.channel_mul_conv(context).sigmoid()
        return x if self.channel_add_conv is None else x + self.channel_add_conv(context)
