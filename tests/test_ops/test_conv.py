"""conv_3x3 beside convolutions of PyTorch in float64."""
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from each import each
from pairwise import pairwise

SHAPES = [((1, 1, 3, 3), 1, (1, 1)), ((2, 3, 4, 4), 5, (0, 0)), ((1, 33, 9, 6), 17, (1, 1)),
          ((3, 64, 7, 7), 65, (1, 1)), ((2, 40, 5, 13), 24, (2, 0)), ((1, 16, 3, 50), 16, (0, 2)),
          ((70, 8, 7, 7), 8, (1, 1)),
          ((2, 300, 12, 12), 70, (1, 1)), ((1, 600, 6, 6), 33, (0, 1))]
FORMATS = [torch.contiguous_format, torch.channels_last]
pytestmark = pytest.mark.usefixtures('cpu_kernels')


def random(*shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return tensor.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else tensor


def check(result, expected, tolerance=3e-5):
    scale = expected.square().mean().sqrt().item()
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=tolerance * scale)


@each('x_shape, cout, padding', SHAPES)
def test_every_shape(x_shape, cout, padding):
    """Channels that fill no vector, sides that fill no tile, more tiles and channels than are taken at once."""
    for bias, memory_format in product([False, True], FORMATS):
        x, weight = random(*x_shape), random(cout, x_shape[1], 3, 3).contiguous(memory_format=memory_format)
        shift = random(cout) if bias else None
        out = torch.ops.mmdet.conv_3x3(x, weight, shift, *padding, False)
        check(out, F.conv2d(x.double(), weight.double(), shift.double() if bias else None, padding=padding))
        assert out.is_contiguous(memory_format=torch.channels_last)


@each('x_shape, cout, padding', SHAPES)
def test_transposed_is_the_gradient_of_the_input(x_shape, cout, padding):
    x, weight = random(*x_shape).double().requires_grad_(), random(cout, x_shape[1], 3, 3)
    out = F.conv2d(x, weight.double(), padding=padding)
    grad = random(*out.shape)
    expected, = torch.autograd.grad(out, x, grad.double())
    for memory_format in FORMATS:
        given = weight.contiguous(memory_format=memory_format)
        check(torch.ops.mmdet.conv_3x3(grad, given, None, *padding, True), expected)


@each('transposed, bias, padding', pairwise([False, True], [False, True], [(0, 0), (1, 1), (2, 0)]))
def test_gradients_and_theirs(transposed, bias, padding):
    """First and second derivatives, with every input wanting one and with each alone."""
    x, weight = random(2, 5, 9, 8), random(*((5, 6) if transposed else (6, 5)), 3, 3)
    inputs = [x, weight, *[random(6)] * bias]

    def ours(x, weight, bias=None):
        return torch.ops.mmdet.conv_3x3(x, weight, bias, *padding, transposed)

    def pytorchs(x, weight, bias=None):
        return (F.conv_transpose2d if transposed else F.conv2d)(x, weight, bias, padding=padding)

    def derivatives(function, wanted, dtype):
        leaves = [tensor.to(dtype).requires_grad_(i in wanted) for i, tensor in enumerate(inputs)]
        chosen = [leaves[i] for i in wanted]
        first = torch.autograd.grad(function(*leaves).sin().sum(), chosen, create_graph=True)
        return [*first, *torch.autograd.grad(sum(grad.square().sum() for grad in first), chosen)]
    for wanted in [*([i] for i in range(len(inputs))), range(len(inputs))]:
        results = derivatives(ours, wanted, torch.float32)
        expected = derivatives(pytorchs, wanted, torch.float64)
        for result, target in zip(results, expected, strict=True):
            check(result, target, 1e-4)


def test_rounds_like_pytorch():
    """Its error against float64 is at most three times that of PyTorch's own kernel, at a real size."""
    x, weight = random(8, 256, 14, 14), random(256, 256, 3, 3)
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    ours, pytorchs = ((out - expected).abs().max() for out in (
        torch.ops.mmdet.conv_3x3(x, weight, None, 1, 1, False), F.conv2d(x, weight, padding=1)))
    assert 0 < ours < 3 * pytorchs


def test_threads_do_not_matter(by_threads):
    x, weight = random(2, 64, 30, 30), random(64, 64, 3, 3)
    results = by_threads(lambda: torch.ops.mmdet.conv_3x3(x, weight, None, 1, 1, False))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_what_is_not_finite_stays_near_its_place():
    x, weight = random(1, 16, 16, 16), random(16, 16, 3, 3)
    x[0, 3, 5, 5] = float('nan')
    out = torch.ops.mmdet.conv_3x3(x, weight, None, 1, 1, False)
    assert out[..., 4:7, 4:7].isnan().all() and out[..., 8:, :].isfinite().all() and out[..., 8:].isfinite().all()


@pytest.mark.parametrize('transposed, shape, padding', [(False, (6, 5, 3, 3), 1), (True, (5, 6, 3, 3), 1),
                                                         (False, (6, 4, 1, 1), 1), (False, (6, 4, 3, 3), 3)])
def test_sizes_that_do_not_fit(transposed, shape, padding):
    with pytest.raises(RuntimeError, match='conv_3x3: the sizes'):
        torch.ops.mmdet.conv_3x3(random(1, 4, 8, 8), random(*shape), None, padding, padding, transposed)


def test_no_images():
    out = torch.ops.mmdet.conv_3x3(random(0, 4, 8, 8), random(6, 4, 3, 3), None, 1, 0, False)
    assert out.shape == (0, 6, 8, 6)


@pytest.mark.parametrize('transposed', [False, True])
def test_opcheck(transposed):
    weight = random(*((8, 16) if transposed else (16, 8)), 3, 3)
    arguments = (random(2, 8, 20, 20).requires_grad_(), weight.requires_grad_(), random(16), 1, 0, transposed)
    torch.library.opcheck(torch.ops.mmdet.conv_3x3, arguments)
