"""Group Normalization (arXiv 1803.08494)."""
from torch import Tensor, nn

from mmdet.ops import group_norm


class GN(nn.GroupNorm):
    """torch.nn.GroupNorm by ops.group_norm: under autocast and channels-last it stays so on a GPU."""
    fuses_relu = True

    def forward(self, y: Tensor, relu: bool = False) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), clamped at 0 if `relu`."""
        return group_norm(y, self.num_groups, self.weight, self.bias, self.eps, relu)
