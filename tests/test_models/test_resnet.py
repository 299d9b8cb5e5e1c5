import pytest
import torch
import torchvision
from torch import nn

from mmdet.models.backbones import ResNet


def randomize(model):
    """Running statistics and scales that are no identity."""
    g = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                tensor.data.copy_(torch.randn(tensor.shape, generator=g) * 0.1)
            for tensor in (module.running_var, module.weight):
                tensor.data.copy_(torch.rand(tensor.shape, generator=g) * 0.4 + 0.4)
    return model


@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_equals_torchvision(depth):
    peer = randomize(getattr(torchvision.models, f'resnet{depth}')()).eval()
    model = ResNet(depth).eval()
    misfit = model.load_state_dict(peer.state_dict(), strict=False)
    assert misfit.missing_keys == [] and misfit.unexpected_keys == ['fc.weight', 'fc.bias']
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        outs = model(x)
        expected = peer.maxpool(peer.relu(peer.bn1(peer.conv1(x))))
        for i, out in enumerate(outs, 1):
            expected = getattr(peer, f'layer{i}')(expected)
            torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)


def test_caffe_style_moves_the_stride_to_the_first_convolution():
    strides = {style: [conv.stride for conv in (block.conv1, block.conv2)]
               for style in ('pytorch', 'caffe') for block in [ResNet(50, style=style).layer2[0]]}
    assert strides == dict(pytorch=[(1, 1), (2, 2)], caffe=[(2, 2), (1, 1)])


def test_frozen_stages_keep_weights_and_statistics():
    model = ResNet(18, frozen_stages=2, norm_eval=False).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum(out.sum() for out in model(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    for name, tensor in model.state_dict().items():
        frozen = name.startswith(('conv1', 'bn1', 'layer1', 'layer2'))
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(tensor, before[name]) == frozen, name


def test_norm_eval_keeps_statistics_but_trains_scales():
    model = ResNet(18, norm_eval=True).train()
    mean = model.layer4[1].bn2.running_mean.clone()
    sum(out.square().sum() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert torch.equal(model.layer4[1].bn2.running_mean, mean)
    assert model.layer4[1].bn2.weight.grad.abs().sum() > 0


def test_checkpointing_changes_no_gradient():
    x = torch.randn(2, 3, 64, 64)
    models = [ResNet(18, norm_cfg=dict(type='GN', num_groups=8), with_cp=with_cp) for with_cp in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        model(x)[-1].square().mean().backward()
    for (name, plain), recomputed in zip(models[0].named_parameters(), models[1].parameters()):
        torch.testing.assert_close(recomputed.grad, plain.grad, msg=name)


def test_dilation_instead_of_stride():
    outs = ResNet(50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)).eval()(torch.randn(1, 3, 64, 64))
    assert [out.shape[2] for out in outs] == [16, 8, 4, 4]


def test_narrow_and_short():
    model = ResNet(18, base_channels=16, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2))
    assert [tuple(out.shape) for out in model(torch.randn(1, 3, 64, 64))] == [(1, 32, 8, 8), (1, 64, 4, 4)]


def test_random_initialization():
    model = ResNet(50)
    model.init_weights()
    assert all(block.bn3.weight.abs().sum() == 0 for block in model.layer3)
    # fan out of layer4's 3x3: 512 * 9
    assert float(model.layer4[1].conv2.weight.detach().std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)


def test_frozen_random_weights_are_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr('mmdet.models.backbones.resnet.print_log', lambda message, **_: said.append(message))
    ResNet(18, frozen_stages=1).init_weights()
    ResNet(18, frozen_stages=-1).init_weights()
    assert len(said) == 1 and 'frozen_stages=1 freezes random weights' in said[0]


@pytest.mark.parametrize('options', [dict(depth=20), dict(depth=50, style='tf'), dict(depth=50, out_indices=(4,))])
def test_wrong_options_name_the_key(options):
    with pytest.raises(ValueError, match='backbone'):
        ResNet(**options)
