"""The four ways to freeze a batch norm, and the fused convolution in which they end."""
import pytest
import torch
from each import each
from torch import nn

from mmdet.models.layers import Conv2d, ConvModule, build_norm_layer, conv_norm, freeze_norm
from mmdet.models.layers.conv_norm import can_fuse


def pair(kind='BN', conv=nn.Conv2d, **options):
    torch.manual_seed(0)
    conv = conv(3, 4, 3, stride=2, padding=1, dilation=2, bias=options.pop('bias', False)).double()
    norm = build_norm_layer(dict(type=kind, **options), 4)[1].double()
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    return conv, norm


def textbook(x, conv, norm):
    y = conv(x)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (y - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)


def by_type(**options):
    return pair('FrozenBN', **options)


def by_requires_grad(**options):
    conv, norm = pair(requires_grad=False, **options)
    freeze_norm(norm)  # as norm_eval does
    return conv, norm


def by_norm_eval(**options):
    conv, norm = pair(**options)
    freeze_norm(nn.ModuleList([conv, norm]))
    return conv, norm


def by_frozen_stages(**options):
    conv, norm = pair(bias=True, **options)
    for module in (conv, norm):
        module.eval().requires_grad_(False)
    return conv, norm


WAYS = [by_type, by_requires_grad, by_norm_eval, by_frozen_stages]


@each('conv', [nn.Conv2d, Conv2d])
@each('freeze', WAYS)
def test_every_way_is_one_fused_convolution(freeze, conv):
    conv, norm = freeze(conv=conv)
    assert can_fuse(conv, norm)
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    learned = [x, *(p for p in (*conv.parameters(), *norm.parameters()) if p.requires_grad)]
    assert len(learned) == dict(by_type=2, by_requires_grad=2, by_norm_eval=4, by_frozen_stages=1)[freeze.__name__]
    out, expected = conv_norm(x, conv, norm), textbook(x, conv, norm)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    for value, target in zip(torch.autograd.grad(out, learned, grad), torch.autograd.grad(expected, learned, grad),
                             strict=True):
        torch.testing.assert_close(value, target)
    assert all(torch.equal(value, state[name]) for name, value in norm.state_dict().items())


def test_frozen_bn_stays_frozen_and_shares_checkpoints_with_bn():
    frozen, plain = pair('FrozenBN', requires_grad=True)[1], pair()[1]
    frozen.train()
    assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())
    assert frozen.state_dict().keys() == plain.state_dict().keys()
    assert not any(frozen.load_state_dict(plain.state_dict())) and not any(plain.load_state_dict(frozen.state_dict()))
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    assert torch.equal(frozen(x), plain.eval()(x))


def test_freeze_norm_ends_with_train():
    model = nn.Sequential(ConvModule(3, 4, 1, norm_cfg=dict(type='BN')), nn.ReLU())
    freeze_norm(model)
    assert not model[0].bn.training and model[0].training
    assert model.train()[0].bn.training


def test_a_norm_that_learns_its_statistics_is_not_fused():
    conv, norm = pair()
    assert not can_fuse(conv, norm)
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    expected = nn.functional.batch_norm(conv(x), None, None, norm.weight, norm.bias, True)
    torch.testing.assert_close(conv_norm(x, conv, norm), expected)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize('hooked', [0, 1])
def test_forward_hooks_are_called(hooked):
    modules = by_type()
    seen = []
    modules[hooked].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    out = conv_norm(x, *modules)
    assert len(seen) == 1
    torch.testing.assert_close(out, textbook(x, *modules))


@pytest.mark.parametrize('conv', [nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect'),
                                  nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))], ids=lambda c: str(c)[:20])
def test_convolutions_that_do_not_fold(conv):
    norm = pair('FrozenBN')[1]
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(conv_norm(x, conv.double(), norm), textbook(x, conv, norm))


@pytest.mark.parametrize('kind', ['BN', 'SyncBN', 'CBN'])
def test_evaluation_folds_too(kind):
    conv, norm = pair(kind)
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    assert can_fuse(conv, norm.eval())
    torch.testing.assert_close(conv_norm(x, conv, norm), textbook(x, conv, norm))


@pytest.mark.parametrize('conv', [nn.Conv2d, Conv2d])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision(dtype, conv):
    conv, norm = (module.float() for module in by_norm_eval(conv=conv))
    x = torch.randn(2, 3, 9, 8)
    with torch.autocast('cpu', dtype):
        out = conv_norm(x, conv, norm)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), textbook(x, conv, norm), rtol=0.03, atol=0.03)


def fused_pair(**options):
    """A 3x3 convolution that our own kernel serves where it can, a frozen norm that learns its scale, and its input."""
    torch.manual_seed(0)
    conv = Conv2d(16, 24, **{'kernel_size': 3, 'padding': 1, 'bias': False, **options})
    norm = build_norm_layer(dict(type='BN'), 24)[1]
    with torch.no_grad():
        for value in (norm.running_mean, norm.weight, norm.bias):
            value.normal_()
    return torch.randn(2, 16, 28, 30, requires_grad=True), conv, norm.eval()


@each('options', [{}, dict(bias=True), dict(kernel_size=1, padding=0), dict(stride=2),
                  dict(groups=2), dict(padding='same'), dict(padding_mode='reflect')])
def test_gradients_of_the_fused_convolution(options):
    for frozen in ('', 'x', 'conv', 'norm', 'conv norm'):
        x, conv, norm = fused_pair(**options)
        x.requires_grad_('x' not in frozen.split())
        conv.requires_grad_('conv' not in frozen)
        norm.requires_grad_('norm' not in frozen)
        learned = [p for p in (x, *conv.parameters(), *norm.parameters()) if p.requires_grad]
        out, expected = conv_norm(x, conv, norm), textbook(x, conv, norm)
        grad = torch.randn_like(out)
        for value, target in zip((out, *torch.autograd.grad(out, learned, grad)),
                                 (expected, *torch.autograd.grad(expected, learned, grad)), strict=True):
            torch.testing.assert_close(value, target, rtol=0, atol=3e-6 * (1 + target.norm().item()))


def test_fused_weights_are_not_kept():
    x, conv, norm = fused_pair()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        conv_norm(x, conv, norm)
    large = {tensor.data_ptr() for tensor in kept if tensor.numel() >= conv.weight.numel()}
    assert large == {x.data_ptr(), conv.weight.data_ptr()}


def test_fused_convolution_twice_differentiable():
    conv, norm = pair(conv=Conv2d)
    x = torch.randn(1, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, *_: conv_norm(x, conv, norm.eval()), (x, *conv.parameters()))
