import pytest
import torch
from each import each
from torch.library import opcheck

from mmdet.ops import bias_relu
from mmdet.ops.extension import KERNELS

# float64's exact values; what a result in the dtype may be off by.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}
# Vectors of 16 bytes: several a thread, one, more than a block's threads; channels that are no whole vectors.
SHAPES = [(2, 64, 9, 7), (3, 256, 5, 4), (1, 4096, 2, 3), (5, 16, 1, 1), (2, 13, 6, 5), (0, 16, 3, 3)]


@each('dtype', ROUNDING)
@each('shape', SHAPES)
def test_equals_the_sum_in_float64(shape, dtype, device):
    torch.manual_seed(0)
    for memory_format in (torch.channels_last, torch.contiguous_format):
        x, other, grad = (torch.randn(shape, device=device).to(dtype).contiguous(memory_format=memory_format)
                          for _ in range(3))
        bias = torch.randn(shape[1], device=device, dtype=torch.promote_types(dtype, torch.float32))
        for has_bias, has_other, relu in [(1, 1, 1), (1, 0, 1), (0, 1, 1), (0, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 0)]:
            inputs = [value.double().clone().requires_grad_() for value in (x, bias, other)]
            given = [value.detach().clone().requires_grad_() for value in (x, bias, other)]
            out = bias_relu(given[0] * 1, given[1] if has_bias else None, given[2] if has_other else None, bool(relu))
            exact = inputs[0] + has_bias * inputs[1].view(-1, 1, 1) + has_other * inputs[2]
            exact = exact * (out.double() > 0) if relu else exact  # where rounding decides, take it as it was
            out.backward(grad)
            exact.backward(grad.double())
            assert out.dtype == dtype and (not len(x) or out.is_contiguous(memory_format=memory_format))
            scale = max(float(exact.detach().abs().max()), 1.) if exact.numel() else 1.
            torch.testing.assert_close(out.double(), exact, rtol=0, atol=ROUNDING[dtype] * scale)
            assert torch.equal(given[0].grad.double(), inputs[0].grad)
            if has_other:
                assert torch.equal(given[2].grad.double(), inputs[2].grad)
            if has_bias:
                scale = max(float(inputs[1].grad.abs().max()), 1.)
                torch.testing.assert_close(given[1].grad.double(), inputs[1].grad, rtol=0,
                                           atol=max(ROUNDING[dtype], 1e-5) * scale)


def test_another_feature_that_lies_otherwise(device):
    x = torch.randn(2, 8, 5, 4, device=device).contiguous(memory_format=torch.channels_last)
    other = torch.randn(2, 12, 5, 4, device=device).contiguous(memory_format=torch.channels_last)[:, 3:11]
    expected = (x + other).relu()
    assert torch.equal(bias_relu(x.clone(memory_format=torch.channels_last), None, other), expected)
    assert torch.equal(bias_relu(x.clone(memory_format=torch.channels_last), None, other.contiguous()), expected)


@pytest.mark.parametrize('bias, other', [(torch.zeros(3), None), (None, torch.zeros(2, 4, 5, 1)),
                                         (torch.zeros(1), None)])
def test_shapes_that_do_not_fit(bias, other):
    with pytest.raises(ValueError, match='bias_relu: x must be'):
        bias_relu(torch.zeros(2, 4, 5, 5), bias, other)


def test_opcheck(device):
    x = torch.randn(2, 16, 5, 4, device=device).contiguous(memory_format=torch.channels_last)
    if not KERNELS['bias_relu_', device.type]:
        pytest.skip(f'need kernels that are not there for {device}')
    opcheck(torch.ops.mmdet.bias_relu_, (x, x.new_zeros(16), x.clone(), True))
    opcheck(torch.ops.mmdet.bias_relu_backward, (x, x.clone(), True))
