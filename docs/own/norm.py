"""A norm: each pixel's features get length 1 (times the root of their number)."""
import torch
from torch import nn

from mmdet.registry import MODELS


@MODELS.register_module()
class PixelNorm(nn.Module):
    """(B, C, H, W) -> the same shape, with a scale and a shift for each channel."""
    _abbr_ = 'pn'  # its name in state dicts: pn.weight, pn1.weight, ...

    def __init__(self, num_features, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.eps = eps

    def forward(self, x):
        length = torch.rsqrt(x.float().square().mean(1, keepdim=True) + self.eps).to(x.dtype)
        return x * length * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
