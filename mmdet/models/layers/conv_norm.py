"""The norm seam `conv_norm`, which runs a convolution and its norm, and ConvModule, which holds such a pair."""
from mmengine.model import constant_init, kaiming_init
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.ops import Conv2d, bias_relu, conv2d

from .build import build_activation_layer, build_conv_layer
from .norm import build_norm_layer

RELU = dict(type='ReLU')


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module | None, residual: Tensor | None = None,
              relu: bool = False, rows: Tensor | None = None) -> Tensor:
    """Run a convolution, the norm after it, and what often follows both. Every pair in the models goes through here.

    A norm that needs the convolution's input and weights (CBN; your own may too) has `forward_conv(x, conv)`; see
    NormProtocol. A batch norm that uses running statistics is fused into the convolution, so it costs nothing of the
    features' size. No rows in `x` (an image without RoIs) give an empty output that takes part in the graph, and change
    no statistics.

    Args:
        x: (B, Cin, H, W).
        conv, norm: modules; without a norm the convolution alone is run.
        residual: (B, Cout, H', W'), added to the norm's output.
        relu: clamp at 0 after that.
        rows: bool (B,), those that are real; in training the others enter no statistics.

    Returns:
        (B, Cout, H', W').
    """
    told = {} if rows is None or not getattr(norm, 'takes_rows', False) else dict(rows=rows)
    if can_fuse(conv, norm):
        fixed = None if norm is None else (norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
        return conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups, fixed, residual,
                      relu)
    if norm is None:
        y = conv(x)
    elif x.shape[0] == 0 and not getattr(norm, 'waits_for_others', False):
        y = _no_rows(conv(x), norm)
    elif hasattr(norm, 'forward_conv'):
        y = norm.forward_conv(x, conv, **told)
    elif relu and residual is None and getattr(norm, 'fuses_relu', False):
        return norm(conv(x), relu=True)
    else:
        y = norm(conv(x), **told)
    return bias_relu(y, None, residual, relu)


def _no_rows(y, norm):
    for parameter in norm.parameters():
        y = y + parameter.sum().to(y.dtype)  # gradient 0, not None: DDP expects one of every parameter
    return y


def can_fuse(conv: nn.Module, norm: nn.Module | None) -> bool:
    """Whether ops.conv2d runs both: a plain convolution, and no norm or a batch norm with fixed statistics."""
    return (type(conv) in (Conv2d, nn.Conv2d) and conv.padding_mode == 'zeros'
            and not (conv._forward_hooks or conv._forward_pre_hooks)
            and (norm is None or isinstance(norm, _BatchNorm) and not norm.training and norm.track_running_stats
                 and norm.affine and not (norm._forward_hooks or norm._forward_pre_hooks)))


class ConvModule(nn.Module):
    """(B, in_channels, H, W) -> convolution, norm, activation -> (B, out_channels, H', W'). With mmcv's names.

    Initialized as mmcv does: Kaiming normal (fan out, ReLU), norm scale 1 and shift 0.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: the convolution's.
        bias: 'auto': only where no norm follows.
        conv_cfg, norm_cfg, act_cfg: for build_conv_layer, build_norm_layer, build_activation_layer. Without a norm_cfg
            there is no norm, without an act_cfg no activation. The norm is held under its own name, `bn` or `gn`.
        inplace: the activation overwrites its input.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool | str = 'auto',
                 conv_cfg: dict | None = None, norm_cfg: dict | None = None, act_cfg: dict | None = RELU,
                 inplace: bool = True):
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
    def norm(self) -> nn.Module | None:
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        if not hasattr(self.conv, 'init_weights'):
            kaiming_init(self.conv, a=0, nonlinearity='relu')
        if self.norm is not None:
            constant_init(self.norm, 1, bias=0)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        if type(self.activate) is nn.ReLU:
            return conv_norm(x, self.conv, self.norm, relu=True, rows=rows)
        x = conv_norm(x, self.conv, self.norm, rows=rows)
        return x if self.activate is None else self.activate(x)
