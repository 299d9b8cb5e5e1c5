import torch
from each import each
from torch import nn

from mmdet.models.layers.patch_stats import slopes

CONVOLUTIONS = [dict(), dict(kernel_size=1), dict(kernel_size=1, bias=False, padding='same'),
                dict(kernel_size=1, padding=1), dict(stride=2, padding=1), dict(dilation=(2, 1), padding=(0, 3)),
                dict(groups=2, bias=False), dict(padding='same', dilation=2), dict(padding=2, padding_mode='reflect'),
                dict(kernel_size=(1, 4), stride=(3, 2), padding=(2, 1)), dict(groups=4, padding=1)]


@each('options', CONVOLUTIONS)
@each('memory_format', [torch.contiguous_format, torch.channels_last])
def test_derivatives_by_the_weights(options, memory_format):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, **dict(dict(kernel_size=3), **options)).double()
    x = torch.randn(3, 4, 9, 8, dtype=torch.float64).add_(1).contiguous(memory_format=memory_format)
    y = conv(x)
    mean = y.mean((0, 2, 3))
    patch, slope = slopes(x, conv, y.detach(), mean.detach())
    padded = torch.cat([x, 5 * x[:2]]).contiguous(memory_format=memory_format)
    real = torch.tensor([True] * 3 + [False] * 2)
    for value, expected in zip(slopes(padded, conv, conv(padded).detach(), mean.detach(), real), (patch, slope)):
        torch.testing.assert_close(value, expected)
    slope = slope.flatten(1)
    patch = patch.view(conv.groups, -1)
    variance = y.var((0, 2, 3), unbiased=False)
    for j in range(8):
        by_mean, = torch.autograd.grad(mean[j], conv.weight, retain_graph=True)
        by_variance, = torch.autograd.grad(variance[j], conv.weight, retain_graph=True)
        torch.testing.assert_close(patch[j * conv.groups // 8], by_mean[j].flatten())
        torch.testing.assert_close(slope[j], by_variance[j].flatten())


def test_float32_of_half_precision():
    conv = nn.Conv2d(4, 8, 3).half()
    x = torch.full((50, 4, 64, 64), 60.).half()  # the sum overflows float16
    y = torch.full((50, 8, 62, 62), 60.).half()
    patch, slope = slopes(x, conv, y, torch.full((8,), 59.))
    assert patch.dtype == torch.float32 and torch.allclose(patch, torch.tensor(60.))
    assert slope.dtype == torch.float32 and torch.allclose(slope, torch.tensor(120.), rtol=0.02)
