"""Convolution, norm and activation as one module, with mmcv's state-dict names."""
from mmengine.model import constant_init, kaiming_init
from torch import nn

from mmdet.registry import MODELS

from .norm import build_norm_layer, conv_norm

RELU = dict(type='ReLU')


def build_conv_layer(conv_cfg: dict | None, *args, **kwargs) -> nn.Module:
    """Make a convolution: nn.Conv2d, or the class that `conv_cfg['type']` names in MODELS, with its other keys."""
    options = dict(conv_cfg or {})
    kind = options.pop('type', 'Conv2d')
    cls = nn.Conv2d if kind in ('Conv', 'Conv2d') else MODELS.get(kind)
    if cls is None:
        raise KeyError(f"conv_cfg: unknown type {kind!r}; known are 'Conv2d' and what MODELS holds")
    return cls(*args, **kwargs, **options)


def build_activation_layer(act_cfg: dict) -> nn.Module:
    """Make an activation: the class that `act_cfg['type']` names in MODELS or in torch.nn, with the other keys."""
    options = dict(act_cfg)
    kind = options.pop('type')
    cls = MODELS.get(kind) or getattr(nn, kind, None)
    if cls is None:
        raise KeyError(f'act_cfg: unknown type {kind!r}; known are the activations of torch.nn and what MODELS holds')
    return cls(**options)


class ConvModule(nn.Module):
    """(B, in_channels, H, W) -> convolution, norm, activation -> (B, out_channels, H', W').

    `bias='auto'`: a bias only where no norm follows. `norm_cfg` and `act_cfg` may be None. The norm is held under its
    own name, `bn` or `gn`. Initialized as mmcv does: Kaiming normal (fan out, ReLU), norm scale 1 and shift 0.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias='auto',
                 conv_cfg=None, norm_cfg=None, act_cfg=RELU, inplace=True):
        super().__init__()
        bias = norm_cfg is None if bias == 'auto' else bias
        self.conv = build_conv_layer(conv_cfg, in_channels, out_channels, kernel_size, stride=stride, padding=padding,
                                     dilation=dilation, groups=groups, bias=bias)
        self.norm_name = None
        if norm_cfg is not None:
            self.norm_name, norm = build_norm_layer(norm_cfg, out_channels)
            self.add_module(self.norm_name, norm)
        self.activate = None
        if act_cfg is not None:
            if act_cfg['type'] in ('ReLU', 'LeakyReLU', 'ReLU6', 'SiLU'):
                act_cfg = {'inplace': inplace, **act_cfg}
            self.activate = build_activation_layer(act_cfg)
        self.init_weights()

    @property
    def norm(self):
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self):
        if not hasattr(self.conv, 'init_weights'):
            kaiming_init(self.conv, a=0, nonlinearity='relu')
        if self.norm is not None:
            constant_init(self.norm, 1, bias=0)

    def forward(self, x):
        x = conv_norm(x, self.conv, self.norm)
        return x if self.activate is None else self.activate(x)
