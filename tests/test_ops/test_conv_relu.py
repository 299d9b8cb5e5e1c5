"""Convolutions that end with bias, residual and ReLU: by cuDNN on a GPU, by its meaning in its place elsewhere."""
import pytest
import torch
import torch.nn.functional as F
from each import each

from mmdet import ops
from mmdet.ops import conv, conv_relu
from mmdet.ops.extension import KERNELS

# Channels in and out, kernel, stride, padding, dilation.
LAYERS = [(16, 24, 1, 1, 0, 1), (16, 24, 3, 2, 1, 1), (8, 32, 3, 1, 2, 2), (32, 64, 7, 2, 3, 1)]


def inputs(layer, dtype, device='cpu'):
    """Input, weight, bias, residual that require gradients, the output's gradient, and the convolution's options."""
    channels, out, kernel, stride, padding, dilation = layer
    options = (stride,) * 2, (padding,) * 2, (dilation,) * 2, 1
    x, weight = torch.randn(2, channels, 17, 14), torch.randn(out, channels, kernel, kernel) / kernel / channels**.5
    y = F.conv2d(x, weight, None, *options)
    given = [x, weight, torch.randn(out), torch.randn_like(y)]
    given = [value.to(device, dtype).contiguous(memory_format=torch.channels_last) if value.dim() == 4 else
             value.to(device, dtype) for value in given]
    return [value.requires_grad_() for value in given], torch.randn_like(y).to(device, dtype), options


def exact(given, grad, options, with_bias, with_residual, out):
    """Output and gradients in float64; where rounding decides about the ReLU, `out` does."""
    x, weight, bias, residual = (value.detach().double().requires_grad_() for value in given)
    y = F.conv2d(x, weight, bias if with_bias else None, *options)
    y = y + residual if with_residual else y
    y = y * (out > 0)
    y.backward(grad.double())
    return y.detach(), [x.grad, weight.grad, bias.grad, residual.grad]


@each('layer', LAYERS)
def test_what_cudnn_is_asked_for_and_its_gradients(layer, monkeypatch):
    def add_relu(x, weight, z, alpha, bias, *options):
        return (F.conv2d(x, weight, bias, *options) + alpha * z).relu()

    def backward(grad, out, wants_bias):
        grad = grad * (out > 0)
        return grad, grad.sum((0, 2, 3))
    monkeypatch.setattr(torch, 'cudnn_convolution_add_relu', add_relu)
    monkeypatch.setattr(torch, 'cudnn_convolution_relu', lambda *args: F.conv2d(*args).relu())
    monkeypatch.setattr(torch.ops.mmdet, 'bias_relu_backward', backward, raising=False)
    torch.manual_seed(0)
    for with_bias, with_residual in [(1, 1), (1, 0), (0, 1), (0, 0)]:
        given, grad, options = inputs(layer, torch.float64)
        x, weight, bias, residual = given
        out = conv_relu.conv_relu(x, weight, bias if with_bias else None, residual if with_residual else None, options)
        out.backward(grad)
        expected, grads = exact(given, grad, options, with_bias, with_residual, out)
        torch.testing.assert_close(out, expected)
        for value, of in zip(given, grads, strict=True):
            assert (value.grad is None) == (of is None)
            if of is not None:
                torch.testing.assert_close(value.grad, of)


def test_on_cpus_it_never_serves():
    given, _, options = inputs(LAYERS[0], torch.bfloat16)
    assert not conv_relu.serves(*given[:2], options)


@pytest.mark.gpu
@each('layer', LAYERS)
@each('dtype', [torch.bfloat16, torch.float16])
def test_cudnn_equals_float64(dtype, layer, monkeypatch):
    if not KERNELS['bias_relu_', 'cuda']:
        pytest.skip('need kernels that are not there for cuda')
    monkeypatch.setattr(conv, 'CONV_RELU', True)
    torch.manual_seed(0)
    for with_bias, with_residual in [(1, 1), (1, 0), (0, 1), (0, 0)]:
        given, grad, options = inputs(layer, dtype, 'cuda')
        assert conv_relu.serves(*given[:2], options)
        # cuDNN is handed an output that it must not read: memory that held NaN shows whether it does.
        del [torch.full((given[3].numel(),), float('nan'), dtype=dtype, device='cuda') for _ in range(8)][:]
        out = ops.conv2d(*given[:2], given[2] if with_bias else None, *options,
                         residual=given[3] if with_residual else None, relu=True)
        assert out.grad_fn.name() == '_ConvReLUBackward'
        out.backward(grad)
        expected, grads = exact(given, grad, options, with_bias, with_residual, out)
        for value, of in [(out, expected), *((value.grad, of) for value, of in zip(given, grads, strict=True))]:
            assert (value is None) == (of is None)
            if of is not None:
                torch.testing.assert_close(value.double(), of, rtol=0, atol=2e-2 * float(of.abs().max()))


@pytest.mark.gpu
def test_under_autocast_behind_a_frozen_norm(monkeypatch):
    """The block of a frozen ResNet, float32 weights: as without it, but for the rounding of the bias."""
    if not KERNELS['bias_relu_', 'cuda']:
        pytest.skip('need kernels that are not there for cuda')
    torch.manual_seed(0)
    given, grad, options = inputs(LAYERS[1], torch.float32, 'cuda')
    norm = [torch.rand(24, device='cuda') + 0.5 for _ in range(4)]
    found = []
    for serves in (False, True):
        monkeypatch.setattr(conv, 'CONV_RELU', serves)
        with torch.autocast('cuda', torch.bfloat16):
            out = ops.conv2d(given[0], given[1], None, *options, norm=(*norm, 1e-5), residual=given[3], relu=True)
        found.append((out, *torch.autograd.grad(out, [given[0], given[1], given[3]], grad.bfloat16())))
        assert (out.grad_fn.name() == '_ConvReLUBackward') == serves
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=3e-2 * float(one.abs().max()))
