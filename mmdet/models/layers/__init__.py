"""Convolutions, norms, the seam that runs them together, and ConvModule."""
from .cbn import CBN
from .conv_module import Conv2d, ConvModule, build_activation_layer, build_conv_layer, conv_norm
from .conv_ws import ConvWS2d
from .frozen_bn import FrozenBN, freeze_norm
from .norm import build_norm_layer
from .sync_bn import SyncBN

__all__ = ['CBN', 'Conv2d', 'ConvModule', 'ConvWS2d', 'FrozenBN', 'SyncBN', 'build_activation_layer',
           'build_conv_layer', 'build_norm_layer', 'conv_norm', 'freeze_norm']
