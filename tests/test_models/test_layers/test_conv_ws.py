import pytest
import torch
from torch import nn

from mmdet.errors import UserError
from mmdet.models.backbones import ResNet
from mmdet.models.layers import ConvModule, ConvWS2d, build_conv_layer, conv_norm


@pytest.mark.parametrize('options', [dict(), dict(stride=2, padding=1, bias=False), dict(groups=2, eps=.1)], ids=str)
def test_weights_are_standardized_by_output_channel(options):
    torch.manual_seed(0)
    conv = build_conv_layer(dict(type='ConvWS'), 4, 6, 3, **options)
    assert type(conv) is ConvWS2d and list(conv.state_dict()) == ['weight', 'bias'][:1 + options.get('bias', True)]
    weight = torch.empty_like(conv.weight)
    for channel, values in enumerate(conv.weight.detach().double()):
        values = values - values.sum() / values.numel()
        std = (values.square().sum() / (values.numel() - 1)).sqrt()
        weight[channel] = values / (std + options.get('eps', 1e-5))
    x = torch.randn(2, 4, 9, 7)
    expected = nn.functional.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-4)


def test_gradient():
    conv = ConvWS2d(2, 3, 3).double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return torch.func.functional_call(conv, dict(weight=weight, bias=bias), x)
    assert torch.autograd.gradcheck(run, (x, *conv.parameters()))


def test_shift_and_scale_of_the_weights_do_not_matter():
    """At the size that runs by our own kernel on CPUs."""
    conv = ConvWS2d(16, 16, 3, padding=1, bias=False)
    x = torch.randn(2, 16, 40, 40)
    expected = conv(x)
    conv.weight.data.mul_(3).add_(.2)
    torch.testing.assert_close(conv(x), expected, rtol=1e-3, atol=1e-3)


def test_with_every_norm_but_cbn():
    x = torch.randn(2, 4, 8, 8)
    for norm in (dict(type='GN', num_groups=2), dict(type='BN'), dict(type='FrozenBN')):
        module = ConvModule(4, 4, 3, conv_cfg=dict(type='ConvWS'), norm_cfg=norm)
        plain = nn.Conv2d(4, 4, 3, bias=False)
        weight = module.conv.weight.detach()
        plain.weight.data = (weight - weight.mean((1, 2, 3), True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        torch.testing.assert_close(module(x), conv_norm(x, plain, module.norm).relu(), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match='not with ConvWS2d'):
        ConvModule(4, 4, 3, conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='CBN'))(x)


def test_every_convolution_of_a_backbone():
    model = ResNet(50, base_channels=8, conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='GN', num_groups=4))
    kinds = [type(module) for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(kinds) == 53 and set(kinds) == {ConvWS2d}
    assert model.state_dict().keys() == ResNet(50, norm_cfg=dict(type='GN', num_groups=4)).state_dict().keys()
