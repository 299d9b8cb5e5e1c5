"""Convolutions, activations and plugins by their configs; `build_norm_layer` in norm.py makes the norms."""
from typing import Any

from torch import nn

from mmdet.ops import Conv2d
from mmdet.registry import MODELS, known_types, unknown_type


def build_conv_layer(conv_cfg: dict | None, *args: Any, **kwargs: Any) -> nn.Module:
    """Make a convolution: Conv2d, or the class that `conv_cfg['type']` names in MODELS, with its other keys.

    The other arguments are the convolution's own. KeyError: a type that nobody registered.
    """
    options = dict(conv_cfg or {})
    kind = options.pop('type', 'Conv2d')
    cls: Any = Conv2d if kind in ('Conv', 'Conv2d') else MODELS.get(kind)
    if cls is None:
        raise unknown_type(kind, ['Conv2d', *known_types(MODELS)], 'conv_cfg')
    return cls(*args, **kwargs, **options)


def build_activation_layer(act_cfg: dict) -> nn.Module:
    """Make an activation: the class that `act_cfg['type']` names in MODELS or in torch.nn, with the other keys.

    KeyError: a type that is in neither.
    """
    options = dict(act_cfg)
    kind = options.pop('type')
    cls = MODELS.get(kind) or getattr(nn, kind, None)
    if cls is None:
        raise unknown_type(kind, [*nn.modules.activation.__all__, *known_types(MODELS)], 'act_cfg')
    return cls(**options)


def build_plugin_layer(cfg: dict, in_channels: int) -> tuple[str, nn.Module]:
    """Make what a backbone's blocks have behind a convolution: a module of MODELS that takes `in_channels`.

    Its name is its class's `_abbr_`, or the class's in small letters, and `cfg['postfix']`.
    """
    options = dict(cfg, in_channels=in_channels)
    postfix = options.pop('postfix', '')
    plugin = MODELS.build(options)
    return f'{getattr(plugin, "_abbr_", type(plugin).__name__.lower())}{postfix}', plugin
