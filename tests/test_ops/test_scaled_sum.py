import torch
from pairwise import pairwise

from mmdet.ops import scaled_sum

SHAPES = [(2, 5, 3, 4), (3, 64, 7, 7), (1, 1, 1, 1), (0, 4, 2, 2), (2, 300, 20, 9)]
TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def test_every_shape_dtype_and_format(served_by, device):
    for shape, (dtype, tolerance), formats in pairwise(SHAPES, list(TOLERANCES.items()),
                                                       ['contiguous', 'channels_last', 'mixed']):
        a, b = (torch.randn(shape, device=device).to(dtype) for _ in range(2))
        if formats != 'contiguous':
            b = b.contiguous(memory_format=torch.channels_last)
        if formats == 'channels_last':
            a = a.contiguous(memory_format=torch.channels_last)
        wide = torch.promote_types(dtype, torch.float32)
        scales = [torch.randn(shape[1], device=device, dtype=wide) for _ in range(3)]
        result = scaled_sum(a, b, *scales)
        scale_a, scale_b, offset = (scale.double().view(-1, 1, 1) for scale in scales)
        expected = a.double() * scale_a + b.double() * scale_b + offset
        assert result.dtype == dtype and (not b.numel() or result.stride() == b.stride())
        torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


def test_opcheck(extension, device):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 8, 5, 6, device=device).contiguous(memory_format=memory_format)
        torch.library.opcheck(torch.ops.mmdet.scaled_sum, (x, x, *torch.randn(3, 8, device=device)))
