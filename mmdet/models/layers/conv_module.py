"""Convolutions, the norm seam `conv_norm`, and convolution, norm and activation as one module with mmcv's names."""
import torch
from mmengine.model import constant_init, kaiming_init
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.ops import backend
from mmdet.ops.extension import conv_3x3_backward
from mmdet.registry import MODELS

from .norm import build_norm_layer

RELU = dict(type='ReLU')
OWN_KERNEL = backend('cpu') == 'mmdet' and torch.backends.cpu.get_cpu_capability() in ('AVX2', 'AVX512')
LEAST_TILES = 48  # of 4 x 4 output positions; for fewer, what is made of the weights takes longer than what is saved


class Conv2d(nn.Conv2d):
    """nn.Conv2d. On the CPU, large 3x3 convolutions of stride 1 in float32 run by our own kernel, forward and backward.

    It takes about half the time of PyTorch's, by Winograd's minimal filtering, and its error is at most twice as large.
    """

    def _conv_forward(self, x, weight, bias, scale=None):
        """As nn.Conv2d's. scale (Cout, 1, 1, 1): of the weights."""
        batch, channels, height, width = x.shape if x.dim() == 4 else (0, 0, 0, 0)
        own = False
        if OWN_KERNEL and self.kernel_size == (3, 3) and self.stride == self.dilation == (1, 1) \
                and self.padding in ((0, 0), (1, 1)) and self.padding_mode == 'zeros' and self.groups == 1 \
                and x.device.type == 'cpu' and x.dtype == weight.dtype == torch.float32 \
                and not torch.is_autocast_enabled('cpu'):
            shrink = 2 - 2 * self.padding[0]
            tiles = batch * -(-(height - shrink) // 4) * -(-(width - shrink) // 4)
            own = tiles >= LEAST_TILES and channels == weight.shape[1] and min(channels, len(weight)) >= 16 \
                and tiles * 16 <= 1.8 * batch * (height - shrink) * (width - shrink)
        if scale is not None:
            if batch and torch.is_grad_enabled() and self.padding_mode == 'zeros' \
                    and not isinstance(self.padding, str) and not torch.compiler.is_compiling():
                return _ScaledConv.apply(x, weight, bias, scale, self, own)
            weight = weight * scale
        if own:
            last = torch.channels_last
            out = torch.ops.mmdet.conv_3x3(x.contiguous(memory_format=last), weight, bias, *self.padding, False)
            channels_last = x.is_contiguous(memory_format=last) or weight.is_contiguous(memory_format=last)
            return out if channels_last else out.contiguous()
        return super()._conv_forward(x, weight, bias)


class _ScaledConv(Function):
    """A convolution by scaled weights. These are not kept until backward, which makes them anew from what is there.

    Of a ResNet-50 they are 94 MiB. torch.compile finds that by itself.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, scale, conv, own):
        ctx.save_for_backward(x, weight, scale)
        ctx.conv, ctx.own = conv, own
        return conv._conv_forward(x, weight * scale, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        conv = ctx.conv
        wants_x, wants_weight, wants_bias, wants_scale, *_ = ctx.needs_input_grad
        scaled = (weight * scale).to(grad.dtype)
        wants = wants_x, wants_weight or wants_scale, wants_bias
        if ctx.own:
            x = x.contiguous(memory_format=torch.channels_last)
            grad_x, grad_scaled, grad_bias = conv_3x3_backward(grad, x, scaled, conv.padding, False, wants)
        else:
            grad_x, grad_scaled, grad_bias = torch.ops.aten.convolution_backward(
                grad, x.to(grad.dtype), scaled, [len(weight)], conv.stride, conv.padding, conv.dilation, False, (0, 0),
                conv.groups, wants)
        grad_weight = grad_scaled * scale if wants_weight else None
        grad_scale = (grad_scaled * weight).sum((1, 2, 3), keepdim=True) if wants_scale else None
        return grad_x, grad_weight, grad_bias, grad_scale, None, None


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module | None) -> Tensor:
    """Run a convolution and the norm after it. Every pair in the models goes through here.

    A norm that needs the convolution's input and weights (CBN; your own may too) has `forward_conv(x, conv)`.
    A batch norm that uses running statistics is folded into the convolution, so it costs nothing of the features' size.
    No rows in `x` (an image without RoIs) give an empty output that takes part in the graph, and change no statistics.
    """
    if norm is None:
        return conv(x)
    if folds_into(conv, norm):
        scale, shift = folded(conv, norm)
        if type(conv) is Conv2d:
            return conv._conv_forward(x, conv.weight, shift, scale)
        return conv._conv_forward(x, conv.weight * scale, shift)
    if x.shape[0] == 0 and not getattr(norm, 'waits_for_others', False):
        return _no_rows(conv(x), norm)
    if hasattr(norm, 'forward_conv'):
        return norm.forward_conv(x, conv)
    return norm(conv(x))


def _no_rows(y, norm):
    for parameter in norm.parameters():
        y = y + parameter.sum().to(y.dtype)  # gradient 0, not None: DDP expects one of every parameter
    return y


def folds_into(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether `norm` is a batch norm with fixed statistics that `folded` can take into `conv`."""
    return (isinstance(norm, _BatchNorm) and not norm.training and norm.track_running_stats and norm.affine
            and type(conv) in (Conv2d, nn.Conv2d)
            and not (conv._forward_hooks or conv._forward_pre_hooks or norm._forward_hooks or norm._forward_pre_hooks))


def folded(conv: nn.Conv2d, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Of norm(conv(x)) as one convolution: the scale of conv's weights, (Cout, 1, 1, 1), and the bias, (Cout,)."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return scale.view(-1, 1, 1, 1), norm.bias - mean * scale


def build_conv_layer(conv_cfg: dict | None, *args, **kwargs) -> nn.Module:
    """Make a convolution: Conv2d, or the class that `conv_cfg['type']` names in MODELS, with its other keys."""
    options = dict(conv_cfg or {})
    kind = options.pop('type', 'Conv2d')
    cls = Conv2d if kind in ('Conv', 'Conv2d') else MODELS.get(kind)
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
