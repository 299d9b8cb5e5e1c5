"""Batch norms with fixed statistics. Whatever froze them (FrozenBN, norm_eval, frozen_stages) ends in
`conv_norm`, which fuses them into the convolution."""
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBN(nn.BatchNorm2d):
    """Batch norm whose statistics, scale and shift never change; entries of its state dict as BatchNorm2d's."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.requires_grad_(False)
        self.training = False

    def train(self, mode: bool = True) -> 'FrozenBN':
        return super().train(False)


def freeze_norm(module: nn.Module) -> None:
    """Let every batch norm in `module` use its running statistics until `module.train()` is called again.

    Scale and shift learn on, unless they do not require gradients.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval()
