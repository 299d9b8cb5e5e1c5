import pytest
import torch
from each import each
from torch.library import opcheck

from mmdet.ops import fold_norm
from mmdet.ops.extension import KERNELS

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
# More weights of a channel than a block's threads, fewer, one.
SHAPES = [(6, 40, 3, 3), (5, 3, 7, 7), (8, 1, 1, 1), (3, 0, 3, 3), (0, 2, 1, 1)]


def given(shape, dtype=torch.float64, device='cpu', **options):
    """Weight, the convolution's bias, gamma, beta, mean, variance."""
    torch.manual_seed(0)
    values = torch.randn(shape), *torch.randn(4, shape[0]), torch.rand(shape[0]) + 0.5
    return [value.to(device, dtype).requires_grad_(at < 4) for at, value in enumerate(values)]


def textbook(weight, conv_bias, gamma, beta, mean, variance):
    scale = gamma / (variance + 1e-3).sqrt()
    return weight * scale.view(-1, 1, 1, 1), ((0 if conv_bias is None else conv_bias) - mean) * scale + beta


def folded(*tensors):
    return fold_norm(*tensors, 1e-3)


@each('dtype', ROUNDING)
@each('shape', SHAPES)
def test_equals_the_norm_in_float64(shape, dtype, device):
    for memory_format, has_bias, of_grad in ((torch.contiguous_format, True, torch.channels_last),
                                             (torch.channels_last, False, torch.contiguous_format)):
        own = [value.detach().contiguous(memory_format=memory_format).requires_grad_(value.requires_grad)
               if value.dim() == 4 else value for value in given(shape, dtype, device)]
        exact = [value.detach().double().requires_grad_(value.requires_grad) for value in own]
        if not has_bias:
            own[1] = exact[1] = None
        results, expected = folded(*own), textbook(*exact)
        grads = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=of_grad), \
            torch.randn(shape[0], device=device).to(results[1].dtype)
        inputs, exact = ([value for value in tensors[:4] if value is not None] for tensors in (own, exact))
        assert results[0].dtype == dtype and (results[0].stride() == own[0].stride() or not own[0].numel())
        given_grads = torch.autograd.grad(results, inputs, grads)
        exact_grads = torch.autograd.grad(expected, exact, [grad.double() for grad in grads])
        for value, target in zip((*results, *given_grads), (*expected, *exact_grads), strict=True):
            size = float(target.detach().abs().max()) if target.numel() else 0
            torch.testing.assert_close(value.double(), target, rtol=0, atol=ROUNDING[dtype] * max(size, 1))


def test_gradients(device):
    *inputs, mean, variance = given((4, 3, 2, 2), device=device)
    assert torch.autograd.gradcheck(lambda *inputs: folded(*inputs, mean, variance), inputs)
    assert torch.autograd.gradgradcheck(lambda *inputs: folded(*inputs, mean, variance), inputs)
    frozen = [value.detach() for value in inputs[1:]]
    weight, bias = folded(inputs[0], *frozen, mean, variance)
    assert weight.requires_grad and torch.autograd.grad(weight.sum(), inputs[0])[0].abs().sum() > 0


def test_weights_are_of_the_dtype_that_autocast_convolves_in(device):
    tensors = given((4, 3, 2, 2), torch.float32, device)
    with torch.autocast(device.type, torch.bfloat16):
        weight, bias = folded(*tensors)
    assert bias.dtype == torch.float32
    assert weight.dtype == torch.bfloat16 if KERNELS['fold_norm', device.type] else torch.float32
    grads = torch.autograd.grad(weight.float().sum() + bias.sum(), tensors[:4], allow_unused=True)
    assert {grad.dtype for grad in grads if grad is not None} == {torch.float32}


@pytest.mark.parametrize('at, value', [(0, torch.ones(4, 3)), (2, torch.ones(3)), (5, torch.ones(1))])
def test_shapes_that_do_not_fit(at, value):
    tensors = given((4, 3, 2, 2))
    tensors[at] = value
    with pytest.raises(ValueError, match='fold_norm: weight must be'):
        fold_norm(*tensors, 1e-3)


def test_opcheck(device):
    if not KERNELS['fold_norm', device.type]:
        pytest.skip(f'need kernels that are not there for {device}')
    weight, conv_bias, gamma, beta, mean, variance = (
        value.detach() for value in given((4, 3, 2, 2), torch.float32, device))
    weight = weight.contiguous(memory_format=torch.channels_last)
    for dtype in (torch.float32, torch.bfloat16):
        opcheck(torch.ops.mmdet.fold_norm, (weight, conv_bias, gamma, beta, mean, variance, 1e-3, dtype))
        opcheck(torch.ops.mmdet.fold_norm_backward,
                (weight.to(dtype), beta, weight, None, gamma, mean, variance, 1e-3))
