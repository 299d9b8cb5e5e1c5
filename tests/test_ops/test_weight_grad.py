from itertools import product

import pytest
import torch
from each import each

from mmdet.ops import conv2d_weight_grad


def tensors(x_shape, cout, padding, dtype=torch.float32, **options):
    """Input, output gradient and the expected weight gradient, by automatic differentiation in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(x_shape, generator=generator, dtype=torch.float64).to(dtype)
    kernel = options.pop('kernel', 3)
    weight = torch.zeros(cout, x_shape[1] // options.get('groups', 1), kernel, kernel, dtype=torch.float64,
                         requires_grad=True)
    y = torch.nn.functional.conv2d(x.double(), weight, padding=padding, **options)
    grad = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(dtype)
    return x, grad, torch.autograd.grad(y, weight, grad.double())[0] if y.numel() else torch.zeros_like(weight)


def check(result, expected, tolerance=1e-5):
    scale = expected.square().mean().sqrt().item()
    torch.testing.assert_close(result.double().cpu(), expected, rtol=0, atol=tolerance * max(scale, 1e-30) * 10)


@each('x_shape, cout, padding', [
    ((1, 1, 3, 3), 1, (1, 1)), ((2, 3, 4, 4), 5, (0, 0)), ((1, 33, 9, 6), 17, (1, 1)), ((3, 64, 7, 7), 65, (1, 1)),
    ((2, 40, 5, 13), 24, (2, 0)), ((1, 16, 3, 50), 16, (0, 2)), ((150, 8, 7, 7), 8, (1, 1)),
    ((2, 600, 8, 8), 300, (1, 1))])
def test_every_shape(cpu_kernels, x_shape, cout, padding):
    """Channels that fill no vector, sides that fill no tile, more tiles and channels than are taken at once."""
    x, grad, expected = tensors(x_shape, cout, padding)
    x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    offset = torch.linspace(-3, 5, cout)
    shifted = grad + offset.view(-1, 1, 1)
    for tile, memory_format in product([4, 7, 8], [torch.contiguous_format, torch.channels_last]):
        channels_last = memory_format == torch.channels_last
        tolerance = 1e-5 if tile == 4 else 1e-4
        result = torch.ops.mmdet.weight_grad_3x3(x, grad, None, *padding, channels_last, tile)
        assert result.is_contiguous(memory_format=memory_format)
        check(result, expected, tolerance)
        result = torch.ops.mmdet.weight_grad_3x3(x, shifted, offset, *padding, channels_last, tile, -.25)
        check(result, expected / -4, tolerance)
        given = (tensor.contiguous(memory_format=memory_format) for tensor in (x, grad))
        ours = conv2d_weight_grad(next(given), expected.shape, next(given), padding=padding, rough=tile > 4)
        check(ours, expected, tolerance)


@each('options', [
    dict(stride=(2, 2)), dict(dilation=(2, 2)), dict(groups=4), dict(kernel=1), dict(kernel=5),
    dict(dtype=torch.float64), dict(dtype=torch.bfloat16)])
def test_every_convolution(served_by, device, options):
    options = dict(options)
    x, grad, expected = tensors((2, 16, 17, 19), 8, (0, 0), **options)
    dtype = torch.promote_types(options.pop('dtype', torch.float32), torch.float32)
    options.pop('kernel', None)
    result = conv2d_weight_grad(x.to(device), expected.shape, grad.to(device), **options)
    assert result.dtype == dtype and result.is_contiguous()
    tolerance = 1e-14 if dtype == torch.float64 else 1e-5
    check(result, expected, tolerance)
    offset = torch.arange(8., device=device, dtype=dtype)
    shifted = grad.to(device, dtype) + offset.view(-1, 1, 1)
    result = conv2d_weight_grad(x.to(device), expected.shape, shifted, **options, offset=offset, scale=2.5)
    check(result, 2.5 * expected, 4 * tolerance)


@each('of, channels', [('x', 16), ('grad', 21), ('both', 16), ('both', 21)])
def test_bfloat16_is_read_exactly(served_by, device, of, channels):
    x, grad, _ = tensors((2, channels, 17, 19), channels, (1, 1))
    x, grad = (tensor.bfloat16() if of in (name, 'both') else tensor for name, tensor in (('x', x), ('grad', grad)))
    result = conv2d_weight_grad(x.to(device), (channels, channels, 3, 3), grad.to(device), padding=(1, 1))
    assert result.dtype == torch.float32
    check(result, torch.nn.grad.conv2d_weight(x.double(), result.shape, grad.double(), padding=1))


@pytest.mark.parametrize('rough, factor', [(False, 2), (True, 40)])
def test_rounds_like_pytorch(cpu_kernels, rough, factor):
    """Its error against float64, as a multiple of that of PyTorch's own kernel, at a real size."""
    x, grad, expected = tensors((16, 128, 14, 14), 128, (1, 1))
    ours = (conv2d_weight_grad(x, expected.shape, grad, padding=(1, 1), rough=rough) - expected).abs().max()
    library = (torch.nn.grad.conv2d_weight(x, expected.shape, grad, padding=1) - expected).abs().max()
    assert factor / 10 * library < ours < factor * library


@pytest.mark.parametrize('x_shape, rough', [((2, 64, 30, 30), False), ((40, 64, 14, 14), False),
                                            ((40, 64, 14, 14), True)])
def test_threads_do_not_matter(cpu_kernels, by_threads, x_shape, rough):
    x, grad, expected = tensors(x_shape, 64, (1, 1))
    results = by_threads(lambda: conv2d_weight_grad(x, expected.shape, grad, padding=(1, 1), rough=rough))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_no_images(cpu_kernels):
    x = torch.zeros(0, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.ops.mmdet.weight_grad_3x3(x, x, None, 1, 1, False), torch.zeros(4, 4, 3, 3))
    assert torch.equal(conv2d_weight_grad(x, (4, 4, 3, 3), x, padding=(1, 1)), torch.zeros(4, 4, 3, 3))


def test_opcheck(cpu_kernels):
    x = torch.randn(2, 8, 20, 20).contiguous(memory_format=torch.channels_last)
    for offset, channels_last in ((torch.randn(8), False), (None, True)):
        torch.library.opcheck(torch.ops.mmdet.weight_grad_3x3, (x, x, offset, 1, 1, channels_last))


def record(monkeypatch, told):
    """A list to which each of the kernel's calls adds what `told` makes of its arguments."""
    called, operator = [], torch.ops.mmdet.weight_grad_3x3

    def weight_grad_3x3(*args):
        called.append(told(*args))
        return operator(*args)
    monkeypatch.setattr(torch.ops.mmdet, 'weight_grad_3x3', weight_grad_3x3)
    return called


def test_serves_where_it_is_faster(cpu_kernels, monkeypatch):
    """The small ones are left to PyTorch."""
    called = record(monkeypatch, lambda x, *args: tuple(x.shape))
    for size in (8, 16):
        x = torch.randn(1, 4, size, size)
        conv2d_weight_grad(x, (4, 4, 3, 3), x, padding=(1, 1))
    assert called == [(1, 4, 16, 16)]


def test_larger_tiles_serve_where_they_fit(cpu_kernels, monkeypatch):
    """Where the error may be larger and they leave little of a map over."""
    called = record(monkeypatch, lambda *args: args[-2])
    for shape in ((40, 4, 7, 7), (10, 4, 14, 14), (10, 4, 8, 8), (40, 4, 8, 8), (1, 4, 40, 40), (2, 4, 20, 20),
                  (2, 4, 40, 40), (1, 4, 84, 84)):
        for rough in (False, True):
            conv2d_weight_grad(torch.randn(shape), (4, 4, 3, 3), torch.randn(shape), padding=(1, 1), rough=rough)
    assert called == [4, 7, 4, 7, 4, 4, 4, 8, 4, 8, 4, 4, 4, 8, 4, 7]


def test_no_such_tile(cpu_kernels):
    x = torch.zeros(1, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match='tiles are of 4, 7 or 8'):
        torch.ops.mmdet.weight_grad_3x3(x, x, None, 1, 1, False, 5)
