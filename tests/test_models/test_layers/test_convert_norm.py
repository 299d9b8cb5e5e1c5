"""convert_norm on networks that know nothing of it."""
import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

from mmdet.errors import UserError
from mmdet.models.layers import CBN, GN, conv_norm, convert_norm

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    model = resnet18(num_classes=4)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.running_mean)
    return model


def trained(model):
    """Output, gradients and state of one step."""
    out = model.double().train()(X.double())
    out.square().sum().backward()
    return {'out': out, **{f'gradient of {name}': parameter.grad for name, parameter in model.named_parameters()},
            **model.state_dict()}


def test_cbn_without_history_is_bn(network):
    converted = convert_norm(copy.deepcopy(network), dict(type='CBN', buffer_num=0))
    assert sum(isinstance(norm, CBN) for norm in converted.modules()) == 20
    torch.testing.assert_close(converted.eval()(X), network.eval()(X))
    expected, got = trained(copy.deepcopy(network)), trained(converted)
    torch.testing.assert_close({name: got[name] for name in expected}, expected)


def test_a_pair_is_what_conv_norm_makes_of_it(network):
    """Three iterations of the stem with a history, under autocast."""
    converted = convert_norm(copy.deepcopy(network), 'CBN').train()
    conv, norm = copy.deepcopy(network.conv1), CBN(64)
    norm.load_state_dict(network.bn1.state_dict())
    for step in range(3):
        with torch.autocast('cpu', torch.bfloat16, enabled=step == 2), torch.no_grad():
            torch.testing.assert_close(converted.bn1(converted.conv1(X + step)), conv_norm(X + step, conv, norm),
                                       rtol=1e-4, atol=2e-2 if step == 2 else 1e-4)  # bfloat16 rounds to 8 bits
            conv.weight *= 1.1
            converted.conv1.weight *= 1.1


@pytest.mark.parametrize('kind', ['BN', 'SyncBN', 'FrozenBN', 'CBN', 'GN'])
def test_state_dicts_load_both_ways(network, kind):
    converted = convert_norm(copy.deepcopy(network), kind)
    ours, theirs = converted.state_dict(), network.state_dict()
    running = {name for name in theirs if name.rpartition('.')[2] in
               ('running_mean', 'running_var', 'num_batches_tracked')} if kind == 'GN' else set()
    assert theirs.keys() - ours.keys() == running and not ours.keys() - theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    network.load_state_dict(ours, strict=kind != 'GN')
    converted.load_state_dict(theirs, strict=kind != 'GN')
    if kind != 'GN':
        torch.testing.assert_close(converted.eval()(X), network.eval()(X))
        again = convert_norm(converted, 'BN')
        assert again.layer1[0].bn1.weight.requires_grad
    else:
        assert isinstance(converted.bn1, GN) and converted.train()(X).isfinite().all()


def test_what_cannot_be_converted_is_named(log):
    class Swish(nn.BatchNorm2d):
        def forward(self, x):
            return nn.functional.silu(super().forward(x))

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1),
                          Swish(8), nn.Conv2d(8, 8, 1), FrozenBatchNorm2d(8)).train()
    convert_norm(model, 'CBN')
    assert [type(model[at]) for at in (1, 3, 5, 7)] == [CBN, nn.BatchNorm2d, Swish, CBN]
    assert 'leaves 2 norms' in log.text and ': 3, 5' in log.text and model(X).isfinite().all()
    with pytest.raises(UserError, match='no norm that GN can replace'):
        convert_norm(nn.Sequential(nn.Conv2d(3, 8, 3)), 'GN')
    with pytest.raises(UserError, match="unknown type 'BM'"):
        convert_norm(model, 'BM')
    with pytest.raises(UserError, match='num_groups=32 does not divide the 8'):
        convert_norm(model, 'GN')


class Between(nn.Module):
    """In its forward something is done in place between the pair."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x).relu_())


def test_a_pair_that_is_none_is_an_error():
    with pytest.raises(UserError, match='must come from that convolution as they are'):
        convert_norm(Between(), 'CBN')(X)
