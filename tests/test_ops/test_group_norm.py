import pytest
import torch
from each import each
from torch.library import opcheck
from torch.nn import functional as F

from mmdet.ops import group_norm
from mmdet.ops.extension import KERNELS

ROUNDING = {torch.float64: 1e-11, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
# (shape, groups): one block an image; several; groups narrower and wider than 16 bytes; no whole vectors; no image.
SHAPES = [((2, 64, 9, 7), 32), ((3, 32, 4, 5), 1), ((2, 32, 40, 21), 8), ((1, 1024, 17, 17), 32), ((2, 13, 6, 5), 13),
          ((5, 16, 1, 1), 4), ((0, 16, 3, 3), 4)]


@each('dtype', ROUNDING)
@each('shape, groups', SHAPES)
def test_equals_float64(shape, groups, dtype, device):
    torch.manual_seed(0)
    for memory_format in (torch.channels_last, torch.contiguous_format):
        for relu, offset in [(False, 0), (True, 0), (False, 30)]:  # far from 0 a sum of squares would cancel
            x, grad = ((torch.randn(shape, device=device) + far).to(dtype).contiguous(memory_format=memory_format)
                       for far in (offset, 0))
            wide = torch.promote_types(dtype, torch.float32)
            weight, bias = (torch.randn(shape[1], device=device, dtype=wide) for _ in range(2))
            inputs = [value.double().clone().requires_grad_() for value in (x, weight, bias)]
            given = [value.clone().requires_grad_() for value in (x, weight, bias)]
            out = group_norm(given[0], groups, *given[1:], 1e-5, relu)
            exact = F.group_norm(inputs[0], groups, *inputs[1:], 1e-5)
            exact = exact * (out.double() > 0) if relu else exact
            assert out.dtype == dtype and (not len(x) or out.is_contiguous(memory_format=memory_format))
            out.backward(grad)
            exact.backward(grad.double())
            for value, expected in [(out, exact), *((a.grad, b.grad) for a, b in zip(given, inputs, strict=True))]:
                scale = max(float(expected.detach().abs().max()), 1.) if expected.numel() else 1.
                torch.testing.assert_close(value.double(), expected, rtol=0,
                                           atol=ROUNDING[dtype] * scale * (100 if offset else 3))


@pytest.mark.parametrize('shape, groups, size', [((2, 6, 3, 3), 4, 6), ((2, 6, 3), 3, 6), ((2, 6, 3, 3), 3, 5),
                                                 ((2, 6, 3, 3), 0, 6)])
def test_what_does_not_fit_is_named(shape, groups, size):
    with pytest.raises(ValueError, match='group_norm'):
        group_norm(torch.zeros(shape), groups, torch.zeros(size), torch.zeros(size))


def test_opcheck(device):
    x = torch.randn(2, 16, 5, 4, device=device).contiguous(memory_format=torch.channels_last)
    if not KERNELS['group_norm', device.type]:
        pytest.skip(f'need kernels that are not there for {device}')
    weight, bias = x.new_ones(16), x.new_zeros(16)
    opcheck(torch.ops.mmdet.group_norm, (x, 4, weight, bias, 1e-5, True))
    _, means, scales = torch.ops.mmdet.group_norm(x, 4, weight, bias, 1e-5, True)
    opcheck(torch.ops.mmdet.group_norm_backward, (x, x, weight, bias, means, scales, True))
