"""Convolutions, norms, the seam that runs them together, and what is built of both."""
from mmdet.ops import Conv2d

from .batch_norm import BN
from .build import build_activation_layer, build_conv_layer, build_plugin_layer
from .cbn import CBN
from .context_block import ContextBlock
from .conv_norm import ConvModule, conv_norm
from .conv_ws import ConvWS2d
from .convert_norm import convert_norm
from .deform_conv import DeformConv2d, ModulatedDeformConv2d
from .ema import ExpMomentumEMA
from .frozen_bn import FrozenBN, freeze_norm
from .group_norm import GN
from .non_local import NonLocal2d
from .norm import build_norm_layer
from .norm_protocol import NormProtocol
from .sync_bn import SyncBN

__all__ = ['BN', 'CBN', 'ContextBlock', 'Conv2d', 'ConvModule', 'ConvWS2d', 'DeformConv2d', 'ExpMomentumEMA',
           'FrozenBN', 'GN', 'ModulatedDeformConv2d', 'NonLocal2d', 'NormProtocol', 'SyncBN', 'build_activation_layer',
           'build_conv_layer', 'build_norm_layer', 'build_plugin_layer', 'conv_norm', 'convert_norm',
           'freeze_norm']
