import torch
from pairwise import pairwise

from mmdet.ops import scatter_matrix


def expected_of(x, mean):
    centred = x.double().cpu() - mean.double().cpu().view(-1, 1, 1)
    return torch.einsum('bchw,bdhw->cd', centred, centred)


SHAPES = [(1, 1, 1, 1), (2, 5, 3, 4), (2, 33, 20, 7), (3, 64, 9, 9), (1, 250, 30, 5)]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def test_every_shape_dtype_and_format(served_by, device):
    """Channels that fill no vector, more positions than are taken at once, means far from 0."""
    generator = torch.Generator().manual_seed(0)
    for shape, dtype, memory_format in pairwise(SHAPES, DTYPES, [torch.contiguous_format, torch.channels_last]):
        x = torch.randn(shape, generator=generator, dtype=torch.float64) + torch.arange(shape[1]).view(-1, 1, 1) / 4
        x = x.to(device, dtype, memory_format=memory_format)
        mean = x.to(torch.promote_types(dtype, torch.float32)).mean((0, 2, 3))
        expected, result = expected_of(x, mean), scatter_matrix(x, mean)
        assert result.is_contiguous() and result.dtype == mean.dtype
        tolerance = (1e-12 if dtype == torch.float64 else 1e-5) * expected.abs().max().item()
        torch.testing.assert_close(result.double().cpu(), expected, rtol=0, atol=tolerance)


def test_threads_do_not_matter(cpu_kernels, by_threads):
    x = torch.randn(2, 130, 20, 20)
    mean = x.mean((0, 2, 3))
    results = by_threads(lambda: scatter_matrix(x, mean), (1, 2, 3, 20))
    assert all(torch.equal(result, results[0]) for result in results)
    assert torch.equal(results[0], results[0].T)


def test_no_images():
    assert torch.equal(scatter_matrix(torch.zeros(0, 4, 8, 8), torch.zeros(4)), torch.zeros(4, 4))


def test_opcheck(cpu_kernels):
    x = torch.randn(2, 8, 5, 5).contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(torch.ops.mmdet.scatter_matrix, (x, torch.randn(8)))
