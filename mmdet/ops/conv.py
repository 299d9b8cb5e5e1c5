"""PyTorch's convolutions and linear layers, computed by the kernel that is fastest for them."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from mmdet.ops import conv_3x3, conv_relu
from mmdet.ops.bias_relu import bias_relu
from mmdet.ops.conv_kernels import CONV_RELU
from mmdet.ops.extension import KERNELS
from mmdet.ops.fold_norm import fold_norm

Norm = tuple[Tensor, Tensor, Tensor, Tensor, float]
CHANNELS_AT_ONCE = 16  # of linear_rois' backward
# A convolution over whole RoIs spares a copy, but without AVX-512 it takes 12 times as long as a matrix product.
ROIS_AS_CONV = 'AVX512' in torch.backends.cpu.get_cpu_capability()


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: tuple[int, ...] = (1, 1),
           padding: tuple[int, ...] | str = (0, 0), dilation: tuple[int, ...] = (1, 1), groups: int = 1,
           norm: Norm | None = None, residual: Tensor | None = None, relu: bool = False) -> Tensor:
    """torch.nn.functional.conv2d with what often follows it.

    On CPUs with AVX2, large 3x3 convolutions of stride 1 in float32 run by our own kernel, forward and backward. It
    takes about half the time of PyTorch's, and its error is at most twice as large (docs/conv-kernels.md).
    MMDET_CONV=torch turns it off. All others are PyTorch's.

    Args:
        x (Tensor): (B, Cin, H, W), floating point.
        weight (Tensor): (Cout, Cin/groups, kh, kw), x's dtype.
        bias (Tensor or None): (Cout,).
        stride, padding, dilation (tuple): of height and width, in pixels; padding also 'same' or 'valid'.
        groups (int): of channels.
        norm (tuple or None): scale, shift, mean and variance (Cout,) and eps of a batch norm by fixed statistics; it
            becomes part of weights and bias. On CPUs these weights are not kept until backward, which makes them anew.
        residual (Tensor or None): (B, Cout, H', W'), added to the output.
        relu (bool): clamp at 0 after that.

    Returns:
        Tensor: (B, Cout, H', W'), in the memory format that PyTorch gives it.

    Raises:
        RuntimeError: shapes, dtypes or devices that do not fit, as torch.nn.functional.conv2d says it.
    """
    scale = None
    if norm is not None and KERNELS['fold_norm', x.device.type]:
        weight, bias = fold_norm(weight, bias, *norm)
    elif norm is not None:
        gamma, beta, mean, variance, eps = norm
        scale = gamma * torch.rsqrt(variance + eps)
        bias = beta - (mean if bias is None else mean - bias) * scale
        scale = scale.view(-1, 1, 1, 1)
    # One kernel for all that follows: PyTorch would add a bias in one of its own, too.
    joins = KERNELS['bias_relu_', x.device.type] and x.dim() == 4 and (bias is not None or residual is not None or relu)
    options = stride, padding, dilation, groups
    if CONV_RELU and joins and relu and conv_relu.serves(x, weight, options):
        return conv_relu.conv_relu(x, weight, bias, residual, options)
    bias, shift = (None, bias) if joins else (bias, None)
    own = False  # decided in the body: a function for it would make the training step one call deeper
    if conv_3x3.SERVES and x.dim() == 4 and weight.shape[2:] == (3, 3) and stride == dilation == (1, 1) \
            and padding in ((0, 0), (1, 1)) and groups == 1 and x.device.type == weight.device.type == 'cpu' \
            and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled('cpu') \
            and not torch.compiler.is_exporting() and (bias is None or bias.shape == weight.shape[:1]
                                                       and bias.dtype == x.dtype and bias.device == x.device):
        (batch, channels, height, width), shrink = x.shape, 2 - 2 * padding[0]
        tiles = batch * -(-(height - shrink) // 4) * -(-(width - shrink) // 4)
        own = tiles >= conv_3x3.MIN_TILES and channels == weight.shape[1] \
            and min(channels, len(weight)) >= conv_3x3.MIN_CHANNELS \
            and tiles * 16 <= conv_3x3.MAX_WASTE * batch * (height - shrink) * (width - shrink)
    if scale is not None and x.dim() == 4 and torch.is_grad_enabled() and len(x) and not isinstance(padding, str) \
            and not torch.compiler.is_compiling():
        out = _ScaledConv.apply(x, weight, bias, scale, options, own)
    else:
        weight = weight if scale is None else weight * scale
        if own:
            last, bias = torch.channels_last, None if bias is None else bias.contiguous()
            out = torch.ops.mmdet.conv_3x3(x.contiguous(memory_format=last), weight, bias, *padding, False)
            if not (x.is_contiguous(memory_format=last) or weight.is_contiguous(memory_format=last)):
                out = out.contiguous()
        else:
            out = F.conv2d(x, weight, bias, *options)  # type: ignore[arg-type]  # padding may be a str
    if joins:
        return bias_relu(out, shift, residual, relu)
    out = out if residual is None else out.add_(residual)
    return out.relu_() if relu else out


class _ScaledConv(Function):
    """A convolution by scaled weights. These are not kept until backward, which makes them anew from what is there.

    Of a ResNet-50 they are 94 MiB. torch.compile finds that by itself.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, scale, options, own):
        ctx.save_for_backward(x, weight, scale)
        ctx.options, ctx.own = options, own
        # In the dtype that autocast would convert the product to.
        casts = weight.dtype == torch.float32 and torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if casts else weight.dtype
        return conv2d(x, torch.mul(weight, scale, out=torch.empty_like(weight, dtype=dtype)), bias, *options)

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.options
        wants_x, wants_weight, wants_bias, wants_scale, *_ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # differentiated once more, which `out` does not allow
            scaled = (weight * scale).to(grad.dtype)
        else:
            scaled = torch.mul(weight, scale, out=torch.empty_like(weight, dtype=grad.dtype))
        wants = wants_x, wants_weight or wants_scale, wants_bias
        if ctx.own:
            x = x.contiguous(memory_format=torch.channels_last)
            grad_x, grad_scaled, grad_bias = conv_3x3.conv_3x3_backward(grad, x, scaled, padding, False, wants)
        else:
            grad_x, grad_scaled, grad_bias = torch.ops.aten.convolution_backward(
                grad, x.to(grad.dtype), scaled, [len(weight)], stride, padding, dilation, False, (0, 0), groups, wants)
        grad_weight = grad_scaled * scale if wants_weight else None
        grad_scale = (grad_scaled * weight).sum((1, 2, 3), keepdim=True) if wants_scale else None
        return grad_x, grad_weight, grad_bias, grad_scale, None, None


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d by `conv2d`; its arguments are the same."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != 'zeros':
            return super()._conv_forward(x, weight, bias)
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def linear_rois(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear of flattened RoI features.

    In float32 on CPUs it runs as a convolution as large as the RoI: oneDNN, which serves convolutions, takes half the
    time of MKL, which serves linear layers, on AMD's processors, and flattening channels-last features costs a copy.

    Args:
        x (Tensor): (R, C, h, w) or (R, C), floating point; R may be 0.
        weight (Tensor): (Cout, C * h * w), or (Cout, C); x's dtype.
        bias (Tensor or None): (Cout,).

    Returns:
        Tensor: (R, Cout).

    Raises:
        ValueError: shapes that do not fit. RuntimeError: dtypes or devices that do not.
    """
    if x.dim() not in (2, 4) or weight.dim() != 2 or x.shape[1:].numel() != weight.size(1) \
            or bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError('linear_rois: x must be (R, C, h, w) or (R, C), weight (Cout, C * h * w), bias (Cout,), got '
                         f'{tuple(x.shape)}, {tuple(weight.shape)} and {None if bias is None else tuple(bias.shape)}')
    if x.device.type != 'cpu' or x.dtype != torch.float32 or torch.is_autocast_enabled('cpu') \
            or not ROIS_AS_CONV or torch.compiler.is_exporting() or not len(x):
        return F.linear(x.flatten(1), weight, bias)
    if x.dim() == 2:  # rows as the positions of one image
        x = x.contiguous().view(1, len(x), 1, -1).permute(0, 3, 1, 2)
        return F.conv2d(x, weight[..., None, None], bias)[0, ..., 0].T
    return _LinearRoIs.apply(x, weight, bias)


class _LinearRoIs(Function):
    # Backward takes a few channels at a time: oneDNN works on copies, and these weights are the largest of the model.
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight.view(-1, *x.shape[1:]), bias).flatten(1)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad_x = torch.empty_like(x) if wants_x else None
        grad_weight = torch.empty_like(weight) if wants_weight else None
        for first in range(0, x.shape[1], CHANNELS_AT_ONCE):
            part = x[:, (some := slice(first, first + CHANNELS_AT_ONCE))]
            if wants_x:
                kernel = weight.view(-1, *x.shape[1:])[:, some]
                grad_x[:, some] = torch.nn.grad.conv2d_input(part.shape, kernel, grad[..., None, None])
            if wants_weight:
                grad_weight.view(-1, *x.shape[1:])[:, some] = (grad.T @ part.flatten(1)).view(-1, *part.shape[1:])
        return grad_x, grad_weight, grad.sum(0) if wants_bias else None
