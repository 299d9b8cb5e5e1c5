"""Batch norms with fixed statistics. Whatever froze them (FrozenBN, norm_eval, frozen_stages) ends in `folded_conv`."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBN(nn.BatchNorm2d):
    """Batch norm whose statistics, scale and shift never change; entries of its state dict as BatchNorm2d's."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.requires_grad_(False)
        self.training = False

    def train(self, mode=True):
        return super().train(False)


def freeze_norm(module: nn.Module) -> None:
    """Let every batch norm in `module` use its running statistics until `module.train()` is called again.

    Scale and shift learn on, unless they do not require gradients.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval()


def folds_into(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether `norm` is a batch norm with fixed statistics that `folded_conv` can run with `conv`."""
    return (isinstance(norm, _BatchNorm) and not norm.training and norm.track_running_stats and norm.affine
            and type(conv) is nn.Conv2d and conv.padding_mode == 'zeros'
            and not (conv._forward_hooks or conv._forward_pre_hooks or norm._forward_hooks or norm._forward_pre_hooks))


def folded_conv(x: Tensor, conv: nn.Conv2d, norm: _BatchNorm) -> Tensor:
    """norm(conv(x)) as one convolution: the norm's scale goes into the weights, its shift into the bias."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    return F.conv2d(x, weight, norm.bias - mean * scale, conv.stride, conv.padding, conv.dilation, conv.groups)
