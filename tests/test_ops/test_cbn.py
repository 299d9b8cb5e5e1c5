import pytest
import torch
from pairwise import pairwise

from mmdet.ops import cbn_statistics

SLOTS, COUT, NUM_WEIGHTS = 3, 6, 37


def arguments(groups=1, bias=False, dtype=torch.float64, slots=SLOTS):
    """Weight, bias, history, patch, slope, mean and variance of random values."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    history = dict(patch=random(slots, groups, NUM_WEIGHTS), slope=random(slots, COUT, NUM_WEIGHTS),
                   mean=random(slots, COUT), mean0=random(slots, COUT), var0=random(slots, COUT) + 3)
    return (random(COUT, NUM_WEIGHTS), random(COUT) if bias else None, history, random(groups, NUM_WEIGHTS),
            random(COUT, NUM_WEIGHTS), random(COUT), random(COUT).abs())


def definition(weight, bias, history, patch, slope, mean, variance, slots):
    """Mean and variance by Python's arithmetic, from moments; and mean0 and var0 of this iteration."""
    pooled, stored = [], []
    for channel, row in enumerate(weight.tolist()):
        group = channel // (COUT // patch.shape[0])
        offset = 0 if bias is None else bias[channel].item()

        def linear(values, row=row):
            return sum(a * b for a, b in zip(values.tolist(), row, strict=True))
        means, squares = [mean[channel].item()], [variance[channel].item() + mean[channel].item() ** 2]
        for slot in slots:
            shift = linear(history['patch'][slot, group]) + offset - history['mean0'][slot, channel].item()
            means.append(history['mean'][slot, channel].item() + shift)
            var = history['var0'][slot, channel].item() + linear(history['slope'][slot, channel]) - shift ** 2
            squares.append(max(var, 0) + means[-1] ** 2)
        average = sum(means) / len(means)
        pooled.append((average, sum(squares) / len(squares) - average ** 2))
        stored.append((linear(patch[group]) + offset, variance[channel].item() - linear(slope[channel])))
    return torch.tensor(pooled, dtype=weight.dtype).T, torch.tensor(stored, dtype=weight.dtype).T


def on(device, value):
    if isinstance(value, dict):
        return {name: on(device, entries) for name, entries in value.items()}
    return None if value is None else value.to(device, copy=True)


WINDOWS = [(0, 0), (0, 1), (0, 3), (2, 2), (1, 3)]
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize('window, groups, bias, dtype', pairwise(WINDOWS, [1, 3], [False, True], DTYPES), ids=str)
def test_definition(served_by, device, window, groups, bias, dtype):
    """Also where the window goes past the last slot."""
    first, count = window
    values = arguments(groups, bias, dtype)
    slots = [(first + entry) % SLOTS for entry in range(count)]
    expected, stored = definition(*values, slots)
    given = [on(device, value) for value in values]
    result = cbn_statistics(*given, first, count)
    exact = dict(rtol=1e-4, atol=1e-4) if dtype == torch.float32 else dict(rtol=1e-11, atol=1e-11)
    for value, wanted in zip(result, expected, strict=True):
        torch.testing.assert_close(value.cpu(), wanted, **exact)
    assert (expected[1] > 0).all()
    slot = (first + count) % SLOTS
    history, (_, _, before, patch, slope, mean, _) = on('cpu', given[2]), values
    for name, value in dict(patch=patch, slope=slope, mean=mean).items():
        assert torch.equal(history[name][slot], value)
    for name, value in zip(('mean0', 'var0'), stored, strict=True):
        torch.testing.assert_close(history[name][slot], value, **exact)
    for name, entries in before.items():
        others = [other for other in range(SLOTS) if other != slot]
        assert torch.equal(history[name][others], entries[others])


def test_one_slot(served_by, device):
    """The iteration that is pooled is the one that is overwritten."""
    values = arguments(slots=1)
    expected, _ = definition(*values, [0])
    given = [on(device, value) for value in values]
    for value, wanted in zip(cbn_statistics(*given, 0, 1), expected, strict=True):
        torch.testing.assert_close(value.cpu(), wanted)
    assert torch.equal(given[2]['slope'][0].cpu(), values[4])


def test_means_far_from_zero(served_by, device):
    """Variances of 1e-2 about means of 1e4 keep 3 digits in float32."""
    weight, _, history, patch, slope, mean, _ = arguments(dtype=torch.float32)
    for name in ('patch', 'slope'):
        history[name] *= 0
    history['mean'] = history['mean'] * 0.01 + 1e4
    history['mean0'] *= 0
    history['var0'] = torch.full_like(history['var0'], 1e-2)
    mean = mean * 0.01 + 1e4
    given = (weight, None, history, patch, slope, mean, torch.full_like(mean, 1e-2))
    means = torch.cat([mean[None], history['mean']]).double()
    pooled = cbn_statistics(*(on(device, value) for value in given), 0, 3)
    torch.testing.assert_close(pooled[1].cpu().double(), 1e-2 + means.var(0, correction=0), rtol=1e-3, atol=0)


def test_threads_do_not_matter(cpu_kernels, by_threads):
    results = by_threads(lambda: cbn_statistics(*arguments(dtype=torch.float32), 0, 3), (1, 3))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_opcheck(extension, device):
    weight, bias, history, *rest = (on(device, value) for value in arguments(3, True))
    torch.library.opcheck(torch.ops.mmdet.cbn_statistics, (weight, bias, *history.values(), *rest, 1, 2))
