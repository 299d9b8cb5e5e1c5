"""Weight Standardization (arXiv 1903.10520), which goes with GN where a device sees few images."""
from typing import Any

import torch
from torch import Tensor

from mmdet.ops import Conv2d
from mmdet.registry import MODELS


@MODELS.register_module('ConvWS')
class ConvWS2d(Conv2d):
    """A convolution whose weights are, for each output channel, of mean 0 and standard deviation 1.

    conv_cfg = dict(type='ConvWS') puts it in place of every convolution of a part.

    Args:
        eps: added to the standard deviation.
        others: nn.Conv2d's.
    """

    def __init__(self, *args: Any, eps: float = 1e-5, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x (B, Cin, H, W) -> (B, Cout, H', W')."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        # torch.std takes 30 times as long on CPUs.
        norm = torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)
        std = norm / max(weight[0].numel() - 1, 1)**.5
        return self._conv_forward(x, weight / (std + self.eps), self.bias)
