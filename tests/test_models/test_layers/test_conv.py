"""Conv2d: which convolutions our own kernel serves, and that each is nn.Conv2d's."""
import pytest
import torch
from each import each
from torch import nn

from mmdet.models.layers import Conv2d
from mmdet.ops import backend, conv_3x3

pytestmark = pytest.mark.skipif(not conv_3x3.SERVES,
                                reason='own convolutions need the compiled extension and AVX2')


@pytest.fixture
def served(monkeypatch):
    """The shapes of inputs that our own kernel convolved."""
    shapes = []
    operator = torch.ops.mmdet.conv_3x3

    def conv_3x3(x, *args):
        shapes.append(tuple(x.shape))
        return operator(x, *args)
    monkeypatch.setattr(torch.ops.mmdet, 'conv_3x3', conv_3x3)
    return shapes


def pair(*args, **kwargs):
    ours = Conv2d(*args, **kwargs)
    other = nn.Conv2d(*args, **kwargs)
    other.load_state_dict(ours.state_dict())
    return ours, other


@each('options, shape, own', [
    (dict(padding=1), (2, 16, 40, 40), True), (dict(), (2, 16, 40, 40), True), (dict(padding=1), (16, 16, 7, 7), True),
    (dict(padding=1, bias=False), (2, 16, 40, 40), True), (dict(), (60, 16, 6, 6), True),
    (dict(padding=1), (2, 16, 8, 8), False), (dict(padding=1), (60, 16, 5, 5), False), (dict(), (60, 16, 2, 2), None),
    (dict(padding=1), (0, 16, 40, 40), False), (dict(padding=2), (2, 16, 40, 40), False),
    (dict(padding='same'), (2, 16, 40, 40), False), (dict(padding=1, padding_mode='reflect'), (2, 16, 40, 40), False),
    (dict(stride=2), (2, 16, 40, 40), False), (dict(dilation=2), (2, 16, 40, 40), False),
    (dict(groups=2), (2, 16, 40, 40), False), (dict(kernel_size=1), (2, 16, 40, 40), False),
    (dict(padding=1), (1, 16, 24, 32), True), (dict(padding=1), (1, 16, 24, 28), False),
    (dict(), (1, 16, 27, 27), True),
    (dict(padding=1), (16, 40, 40), False), (dict(dtype=torch.float64, padding=1), (2, 16, 40, 40), False),
])
def test_equals_nn_conv2d(served, options, shape, own):
    options = {'in_channels': 16, 'out_channels': 24, 'kernel_size': 3, **options}
    x = torch.randn(shape, dtype=options.get('dtype'))
    if own is None:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            Conv2d(**options)(x)
        return
    for memory_format in (torch.contiguous_format, torch.channels_last)[:1 if x.dim() == 3 else 2]:
        convs = [conv.to(memory_format=memory_format) for conv in pair(**options)]
        inputs = [x.clone(memory_format=memory_format).requires_grad_() for _ in range(2)]
        served.clear()
        outs = [conv(one) for conv, one in zip(convs, inputs, strict=True)]
        assert served == [shape] * own
        assert outs[0].stride() == outs[1].stride()
        grad = torch.randn_like(outs[1])
        grads = [torch.autograd.grad(out, [one, *conv.parameters()], grad)
                 for out, one, conv in zip(outs, inputs, convs, strict=True)]
        for ours, theirs in zip((outs[0], *grads[0]), (outs[1], *grads[1]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-6 * (1 + theirs.norm().item()))


def test_autocast_and_few_channels_are_left_to_pytorch(served):
    with torch.autocast('cpu', torch.bfloat16):
        assert Conv2d(16, 16, 3, padding=1)(torch.randn(2, 16, 40, 40)).dtype == torch.bfloat16
    Conv2d(15, 16, 3, padding=1)(torch.randn(2, 15, 40, 40))
    Conv2d(16, 15, 3, padding=1)(torch.randn(2, 16, 40, 40))
    assert served == []


def test_other_channels_than_the_weights():
    with pytest.raises(RuntimeError, match='expected input.* to have 16 channels, but got 32'):
        Conv2d(16, 16, 3, padding=1)(torch.randn(2, 32, 40, 40))


def test_hooks_run(served):
    conv, called = Conv2d(16, 16, 3, padding=1), []
    conv.register_forward_hook(lambda *args: called.append(args))
    conv(torch.randn(2, 16, 40, 40))
    assert len(called) == len(served) == 1


def test_without_the_extension(served, monkeypatch):
    assert backend('cpu') == 'mmdet'
    monkeypatch.setattr(conv_3x3, 'SERVES', False)
    Conv2d(16, 16, 3, padding=1)(torch.randn(2, 16, 40, 40))
    assert served == []
