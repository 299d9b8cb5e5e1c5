import pytest
import torch
from torch import nn

from mmdet.errors import UserError
from mmdet.models.layers import ConvModule, build_activation_layer, build_conv_layer


def test_is_convolution_norm_activation():
    module = ConvModule(3, 4, 3, stride=2, padding=1, dilation=1, groups=1, norm_cfg=dict(type='GN', num_groups=2))
    x = torch.randn(2, 3, 9, 8)
    expected = nn.functional.group_norm(nn.functional.conv2d(x, module.conv.weight, None, 2, 1), 2).relu()
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize('options, names', [
    (dict(), ['conv.weight', 'conv.bias']),
    (dict(norm_cfg=dict(type='GN', num_groups=2)), ['conv.weight', 'gn.weight', 'gn.bias']),
    (dict(norm_cfg=dict(type='CBN')), ['conv.weight', *(f'bn.{name}' for name in (
        'weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'))]),
    (dict(norm_cfg=dict(type='GN', num_groups=2), bias=True), ['conv.weight', 'conv.bias', 'gn.weight', 'gn.bias']),
    (dict(bias=False), ['conv.weight'])], ids=str)
def test_state_dict_names_are_mmcvs(options, names):
    assert list(ConvModule(3, 4, 1, **options).state_dict()) == names


def test_activation():
    assert ConvModule(3, 4, 1, act_cfg=None).activate is None
    assert ConvModule(3, 4, 1).activate.inplace and not ConvModule(3, 4, 1, inplace=False).activate.inplace
    assert isinstance(ConvModule(3, 4, 1, act_cfg=dict(type='GELU')).activate, nn.GELU)
    assert ConvModule(3, 4, 1, act_cfg=dict(type='LeakyReLU', negative_slope=0.3)).activate.negative_slope == 0.3


def test_initialization_is_kaiming_normal_by_fan_out():
    module = ConvModule(32, 64, 3, norm_cfg=dict(type='BN'))
    assert abs(module.conv.weight.std().item() - (2 / (64 * 9)) ** 0.5) < 0.001
    assert torch.equal(module.bn.weight, torch.ones(64)) and not module.bn.bias.any()
    assert not ConvModule(3, 4, 1).conv.bias.any()


def test_unknown_types_are_named():
    with pytest.raises(UserError, match="conv_cfg: unknown type 'Conv7'"):
        build_conv_layer(dict(type='Conv7'), 3, 4, 1)
    with pytest.raises(UserError, match="act_cfg: unknown type 'Relu'"):
        build_activation_layer(dict(type='Relu'))
