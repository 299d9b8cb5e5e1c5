"""PyTorch's convolutions and linear layers, computed by the kernel that is fastest for them."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from mmdet.ops import conv_3x3

CHANNELS_AT_ONCE = 16  # of linear_rois' backward


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: tuple[int, int] = (1, 1),
           padding: tuple[int, int] | str = (0, 0), dilation: tuple[int, int] = (1, 1), groups: int = 1,
           scale: Tensor | None = None) -> Tensor:
    """torch.nn.functional.conv2d, whose weights may have a scale.

    On CPUs with AVX2, large 3x3 convolutions of stride 1 in float32 run by our own kernel, forward and backward. It
    takes about half the time of PyTorch's, and its error is at most twice as large (docs/conv-kernels.md).
    MMDET_CONV=torch turns it off. All others are PyTorch's.

    Args:
        x (Tensor): (B, Cin, H, W), floating point.
        weight (Tensor): (Cout, Cin/groups, kh, kw), x's dtype.
        bias (Tensor or None): (Cout,).
        stride, padding, dilation (tuple): of height and width, in pixels; padding also 'same' or 'valid'.
        groups (int): of channels.
        scale (Tensor or None): (Cout, 1, 1, 1), by which the weights are multiplied. The product is not kept until
            backward, which makes it anew.

    Returns:
        Tensor: (B, Cout, H', W'), in the memory format that PyTorch gives it.

    Raises:
        RuntimeError: shapes, dtypes or devices that do not fit, as torch.nn.functional.conv2d says it.
    """
    own = False
    # In the body: a function for it would make the training step one call deeper.
    if conv_3x3.SERVES and x.dim() == 4 and weight.shape[2:] == (3, 3) and stride == dilation == (1, 1) \
            and padding in ((0, 0), (1, 1)) and groups == 1 and x.device.type == weight.device.type == 'cpu' \
            and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled('cpu') \
            and (bias is None or bias.shape == weight.shape[:1] and bias.dtype == x.dtype and bias.device == x.device):
        (batch, channels, height, width), shrink = x.shape, 2 - 2 * padding[0]
        tiles = batch * -(-(height - shrink) // 4) * -(-(width - shrink) // 4)
        own = tiles >= conv_3x3.MIN_TILES and channels == weight.shape[1] \
            and min(channels, len(weight)) >= conv_3x3.MIN_CHANNELS \
            and tiles * 16 <= conv_3x3.MAX_WASTE * batch * (height - shrink) * (width - shrink)
    if scale is not None:
        if x.dim() == 4 and len(x) and torch.is_grad_enabled() and not isinstance(padding, str) \
                and not torch.compiler.is_compiling():
            return _ScaledConv.apply(x, weight, bias, scale, (stride, padding, dilation, groups), own)
        weight = weight * scale
    if not own:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    last, bias = torch.channels_last, None if bias is None else bias.contiguous()
    out = torch.ops.mmdet.conv_3x3(x.contiguous(memory_format=last), weight, bias, *padding, False)
    channels_last = x.is_contiguous(memory_format=last) or weight.is_contiguous(memory_format=last)
    return out if channels_last else out.contiguous()


class _ScaledConv(Function):
    """A convolution by scaled weights. These are not kept until backward, which makes them anew from what is there.

    Of a ResNet-50 they are 94 MiB. torch.compile finds that by itself.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, scale, options, own):
        ctx.save_for_backward(x, weight, scale)
        ctx.options, ctx.own = options, own
        return conv2d(x, weight * scale, bias, *options)

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.options
        wants_x, wants_weight, wants_bias, wants_scale, *_ = ctx.needs_input_grad
        scaled = (weight * scale).to(grad.dtype)
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
        ValueError: shapes that do not fit.
    """
    if x.dim() not in (2, 4) or weight.dim() != 2 or x.shape[1:].numel() != weight.size(1):
        raise ValueError(f'linear_rois: x must be (R, C, h, w) or (R, C) and weight (Cout, C * h * w), got '
                         f'{tuple(x.shape)} and {tuple(weight.shape)}')
    if x.device.type != 'cpu' or x.dtype != torch.float32 or torch.is_autocast_enabled('cpu') or not len(x):
        return F.linear(x.flatten(1), weight, bias)
    if x.dim() == 2:  # rows as the positions of one image
        x = x.contiguous().view(1, len(x), 1, -1).permute(0, 3, 1, 2)
        return F.conv2d(x, weight[..., None, None], bias)[0, ..., 0].T
    return _LinearRoIs.apply(x, weight, bias)


class _LinearRoIs(Function):
    """linear_rois on (R, C, h, w).

    Backward takes a few channels at a time: oneDNN works on copies, and these weights are the largest of the model.
    """

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
            some = slice(first, first + CHANNELS_AT_ONCE)
            part = x[:, some]
            if wants_x:
                kernel = weight.view(-1, *x.shape[1:])[:, some]
                grad_x[:, some] = torch.nn.grad.conv2d_input(part.shape, kernel, grad[..., None, None])
            if wants_weight:
                grad_weight.view(-1, *x.shape[1:])[:, some] = (grad.T @ part.flatten(1)).view(-1, *part.shape[1:])
        return grad_x, grad_weight, grad.sum(0) if wants_bias else None
