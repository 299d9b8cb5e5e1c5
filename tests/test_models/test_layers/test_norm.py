import pytest
import torch
from each import each
from torch import nn

from mmdet.errors import UserError
from mmdet.models.layers import build_norm_layer, conv_norm
from mmdet.registry import MODELS

TYPES = dict(BN='bn', FrozenBN='bn', SyncBN='bn', MMSyncBN='bn', CBN='bn', GN='gn', LN='ln', IN='in')


def norm_cfg(kind, **options):
    return dict(type=kind, **(dict(num_groups=2) if kind == 'GN' else {}), **options)


@each('kind', TYPES)
def test_names_and_options(kind):
    cfg = norm_cfg(kind, eps=1e-3)
    name, norm = build_norm_layer(cfg, 4, postfix=2)
    assert name == TYPES[kind] + '2'
    assert norm.eps == 1e-3
    assert build_norm_layer(cfg, 4)[0] == TYPES[kind]
    assert cfg == norm_cfg(kind, eps=1e-3)  # the config is left as it was


@pytest.mark.parametrize('kind', ['BN', 'SyncBN', 'CBN', 'GN', 'LN'])
def test_requires_grad(kind):
    for requires_grad in (True, False):
        norm = build_norm_layer(norm_cfg(kind, requires_grad=requires_grad), 4)[1]
        assert [p.requires_grad for p in norm.parameters()] == [requires_grad] * 2


@pytest.mark.parametrize('kind', ['BN', 'FrozenBN', 'SyncBN', 'CBN'])
def test_state_dict_names_are_batch_norms(kind):
    norm = build_norm_layer(dict(type=kind), 4)[1]
    assert list(norm.state_dict()) == ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']


def test_group_norm():
    x = torch.randn(2, 4, 3, 3)
    groups = x.view(2, 2, 18)
    expected = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(build_norm_layer(norm_cfg('GN'), 4)[1](x), expected.view_as(x))


def test_layer_norm_is_that_of_tokens():
    x = torch.randn(2, 7, 4)
    expected = (x - x.mean(2, keepdim=True)) / (x.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(build_norm_layer(norm_cfg('LN'), 4)[1](x), expected)


@each('cfg, words', [
    (dict(type='CBM'), ["unknown type 'CBM'", "mean 'CBN'", 'BN, ', 'GN', 'custom_imports']),
    (dict(type='GN'), ["GN needs the key 'num_groups'"]),
    (dict(type='GN', num_groups=3), ['num_groups=3 does not divide the 4 channels']),
    (dict(type='BN', num_groups=2), ["unexpected keyword argument 'num_groups'", 'momentum']),
    (dict(type='CBN', buffer=3), ["'buffer'", 'buffer_num']),
    (dict(num_groups=3), ["the key 'type'"]),
    ('BN', ['must be a dict'])])
def test_mistakes_are_named(cfg, words):
    with pytest.raises(UserError) as caught:
        build_norm_layer(cfg, 4)
    for word in words:
        assert word in str(caught.value)


def test_norms_of_third_parties():
    class Scale(nn.Module):
        def __init__(self, channels, start=1.):
            super().__init__()
            self.weight = nn.Parameter(torch.full((channels, 1, 1), start))

        def forward(self, x):
            return x * self.weight

    class ByWeights(Scale):
        _abbr_ = 'wn'

        def forward_conv(self, x, conv):
            return conv(x) / conv.weight.norm() * self.weight

    MODELS.register_module('Scale', module=Scale)
    try:
        name, norm = build_norm_layer(dict(type='Scale', start=3.), 4, 1)
    finally:
        MODELS.module_dict.pop('Scale')
    conv, x = nn.Conv2d(3, 4, 1), torch.randn(2, 3, 5, 5)
    assert name == 'norm_layer1'
    torch.testing.assert_close(conv_norm(x, conv, norm), 3 * conv(x))
    name, norm = build_norm_layer(dict(type=ByWeights, requires_grad=False), 4)
    assert name == 'wn' and not norm.weight.requires_grad
    torch.testing.assert_close(conv_norm(x, conv, norm), conv(x) / conv.weight.norm())


def test_no_norm():
    conv, x = nn.Conv2d(3, 4, 1), torch.randn(2, 3, 5, 5)
    assert torch.equal(conv_norm(x, conv, None), conv(x))


@each('training', [True, False])
@each('kind', TYPES)
def test_no_rows(kind, training):
    """An image without RoIs: an empty output in the graph, a gradient (of zeros) for everything that learns."""
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), build_norm_layer(norm_cfg(kind), 4)[1].train(training)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.zeros(0, 3, 7, 7, requires_grad=True)
    out = conv_norm(x, conv, norm)
    assert out.shape == (0, 4, 5, 5)
    out.sum().backward()
    for parameter in (*conv.parameters(), *norm.parameters()):
        assert not parameter.requires_grad or torch.equal(parameter.grad, torch.zeros_like(parameter))
    assert x.grad.shape == x.shape
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
