import torch
from each import each
from torch import nn

from mmdet.models.layers import BN
from mmdet.models.layers.batch_stats import normalize, pool, track
from mmdet.ops import mean_variance


def test_batch_stats_are_float32_and_biased():
    y = torch.randn(3, 5, 4, 2, dtype=torch.float64) * 3 + 7
    mean, variance = mean_variance(y)
    torch.testing.assert_close(mean, y.mean((0, 2, 3)))
    torch.testing.assert_close(variance, y.var((0, 2, 3), unbiased=False))
    for dtype in (torch.bfloat16, torch.float16):
        mean, variance = mean_variance(y.to(dtype))
        assert mean.dtype == variance.dtype == torch.float32
        torch.testing.assert_close(mean, y.to(dtype).float().mean((0, 2, 3)))
    assert not torch.stack(mean_variance(y[:0])).any()


@each('real', [[True, False, True, False], [True] * 4, [False] * 4])
def test_rows_that_do_not_count_change_nothing(real):
    """The others give what they would give alone; where none counts, the running statistics stay."""
    real = torch.tensor(real)
    y = torch.randn(4, 3, 5, 2, dtype=torch.float64) * 3 + 1
    y[~real] *= 100
    y.requires_grad_()
    statistics = mean_variance(y, real)
    norm, alone = BN(3).double(), nn.BatchNorm2d(3).double()
    out = norm(y, rows=real)
    if real.any():
        torch.testing.assert_close(statistics, mean_variance(y[real]))
        expected = alone(y[real])
        torch.testing.assert_close(out[real], expected)
        grad = torch.randn_like(expected)
        torch.testing.assert_close(torch.autograd.grad(out[real], (y, *norm.parameters()), grad),
                                   torch.autograd.grad(expected, (y, *alone.parameters()), grad))
    else:
        assert not torch.stack(statistics).any() and out.isfinite().all()
    for value, wanted in zip(norm.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(value, wanted)
    pixels = y[:, :, :1, :1]  # one that counts is its own mean: the output does not depend on it
    grad, = torch.autograd.grad(norm(pixels, rows=torch.tensor([True] + [False] * 3))[0].sum(), pixels)
    assert not grad[0].any()


def test_pool_is_the_mixture():
    parts = [torch.randn(n, 4, 3, 3, dtype=torch.float64) + n for n in (2, 5, 1)]
    shares = torch.tensor([[2.], [5.], [1.]], dtype=torch.float64) / 8
    mean, variance = pool(*(torch.stack(s) for s in zip(*map(mean_variance, parts), strict=True)), shares)
    whole = torch.cat(parts)
    torch.testing.assert_close(mean, whole.mean((0, 2, 3)))
    torch.testing.assert_close(variance, whole.var((0, 2, 3), unbiased=False))


def test_track_follows_batch_norm():
    for momentum in (0.1, None):
        plain, norm = (nn.BatchNorm2d(4, momentum=momentum).double() for _ in range(2))
        for i in range(3):
            y = torch.randn(2, 4, 3, 3, dtype=torch.float64) * (i + 1) + i
            plain(y)
            track(norm, *mean_variance(y), count=18)
        for value, expected in zip(norm.buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(value, expected)


def test_normalize_gradients_with_a_share_of_the_statistics():
    """Statistics of which y gave one third, as in a mixture with two others of its size."""
    norm = nn.BatchNorm2d(3).double()
    nn.init.normal_(norm.weight)
    others = torch.rand(2, 2, 3, dtype=torch.float64) + 0.5

    def statistics(y):
        means = torch.cat([y.mean((0, 2, 3))[None], others[0]])
        variances = torch.cat([y.var((0, 2, 3), unbiased=False)[None], others[1]])
        return pool(means, variances, 1 / 3)

    y = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(y)
    inputs = (y, norm.weight, norm.bias)
    mean, variance = statistics(y)
    expected = (y - mean.view(-1, 1, 1)) / (variance + norm.eps).sqrt().view(-1, 1, 1)
    expected = expected * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    out = normalize(y, norm, mean.detach(), variance.detach(), 3 * 24)
    torch.testing.assert_close(out, expected)
    for value, target in zip(torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad),
                             strict=True):
        torch.testing.assert_close(value, target)
