import pytest
import torch
import torch.nn.functional as F
from pairwise import pairwise

from mmdet.ops import mean_patch

CONVOLUTIONS = [dict(kernel_size=(3, 3)), dict(kernel_size=(3, 3), padding=(1, 1)), dict(kernel_size=(1, 1)),
                dict(kernel_size=(1, 1), padding=(1, 1)), dict(kernel_size=(5, 2), padding=(4, 0)),
                dict(kernel_size=(3, 7), padding=(1, 3)), dict(kernel_size=(7, 7), padding=(6, 6)),
                dict(kernel_size=(10, 3), padding=(2, 1)),  # on 7 rows its first one reads nothing
                dict(kernel_size=(3, 3), stride=(2, 1)), dict(kernel_size=(2, 3), dilation=(2, 3), padding=(1, 3))]


SHAPES = [(1, 1, 7, 7), (3, 5, 9, 8), (2, 70, 7, 11), (30, 64, 7, 7)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize('options', CONVOLUTIONS, ids=str)
def test_every_convolution(served_by, device, options):
    generator = torch.Generator().manual_seed(0)
    for shape, dtype, memory_format in pairwise(SHAPES, DTYPES, [torch.contiguous_format, torch.channels_last]):
        x = (torch.randn(shape, generator=generator) + 1).to(dtype)
        patches = F.unfold(x.double(), **options).mean((0, 2))
        result = mean_patch(x.to(device, memory_format=memory_format), **options)
        assert result.dtype == torch.promote_types(dtype, torch.float32) and result.is_contiguous()
        tolerance = 1e-13 if dtype == torch.float64 else 2e-6
        torch.testing.assert_close(result.double().cpu(), patches.view(shape[1], *options['kernel_size']), rtol=0,
                                   atol=tolerance)


def test_threads_do_not_matter(cpu_kernels, by_threads):
    x = torch.randn(70, 40, 7, 7).contiguous(memory_format=torch.channels_last)
    results = by_threads(lambda: mean_patch(x, (3, 3), padding=(1, 1)))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_opcheck(cpu_kernels):
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(2, 8, 5, 6).to(dtype).contiguous(memory_format=torch.channels_last)
        torch.library.opcheck(torch.ops.mmdet.mean_patch, (x, 3, 2, 1, 0))


def test_kernel_that_does_not_fit(cpu_kernels):
    x = torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match='larger than the padded input'):
        mean_patch(x, (5, 3))
