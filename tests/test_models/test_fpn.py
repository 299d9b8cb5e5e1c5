import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mmdet.models.necks import FPN

CHANNELS = [8, 16, 32]


def features():
    return [torch.randn(2, c, 40 // 2 ** i + 1, 24 // 2 ** i + 1) for i, c in enumerate(CHANNELS)]


def test_equals_torchvision():
    neck = FPN(CHANNELS, 12, num_outs=4)
    peer = FeaturePyramidNetwork(CHANNELS, 12, extra_blocks=LastLevelMaxPool())
    for part, convs in (('inner', neck.lateral_convs), ('layer', neck.fpn_convs)):
        for mine, theirs in zip(convs, getattr(peer, f'{part}_blocks')):
            theirs[0].load_state_dict(mine.conv.state_dict())
    x = features()
    for out, expected in zip(neck(x), peer(dict(enumerate(x))).values(), strict=True):
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(('source', 'channels'), [('on_input', 32), ('on_lateral', 12), ('on_output', 12)])
def test_extra_convolutions(source, channels):
    neck = FPN(CHANNELS, 12, num_outs=5, add_extra_convs=source, relu_before_extra_convs=True)
    x = features()
    outs = neck(x)
    assert neck.fpn_convs[3].conv.in_channels == channels
    read = dict(on_input=x[-1], on_lateral=neck.lateral_convs[-1](x[-1]), on_output=outs[2])[source]
    torch.testing.assert_close(outs[3], neck.fpn_convs[3](read))
    torch.testing.assert_close(outs[4], neck.fpn_convs[4](outs[3].relu()))


def test_start_level():
    outs = FPN(CHANNELS, 12, num_outs=2, start_level=1)(features())
    assert [tuple(out.shape[1:]) for out in outs] == [(12, 21, 13), (12, 11, 7)]


def test_no_norm_on_lateral():
    neck = FPN(CHANNELS, 12, 3, norm_cfg=dict(type='GN', num_groups=4), no_norm_on_lateral=True)
    assert neck.lateral_convs[0].norm is None and neck.fpn_convs[0].norm is not None


def test_too_few_outputs():
    with pytest.raises(ValueError, match='num_outs'):
        FPN(CHANNELS, 12, num_outs=2)
