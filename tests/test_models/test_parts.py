"""ResNeXt, deformable convolutions, context blocks, PAFPN and BFP: mmdetection 3.3.0's names, outputs and gradients."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mask_rcnn import SMALL as SMALL_DETECTOR
from mask_rcnn import config, data, losses, norms, total
from parts import PARTS, context, numbers
from scene import small_scene
from torch.nn import functional as F

from mmdet.models.backbones import ResNet
from mmdet.models.layers import Conv2d, build_conv_layer
from mmdet.models.layers.patch_stats import slopes
from mmdet.registry import MODELS

GOLDEN = np.load(Path(__file__).parents[1] / 'data' / 'golden' / 'parts.npz')


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
@pytest.mark.parametrize('name', PARTS)
def test_names_and_numbers(name, device, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    keys, found = numbers(name, device)
    assert sorted(keys) == sorted(str(GOLDEN[f'{name}/keys']).splitlines())
    assert found.keys() == {key for key in GOLDEN if key.startswith(f'{name}/')} - {f'{name}/keys'}
    # Where a deformable convolution reads at the edge of two pixels, rounding decides which one has the gradient.
    rtol = 0.02 if device == 'cuda' and 'dcn' in PARTS[name] else 1e-3
    for key, values in found.items():
        np.testing.assert_allclose(values, GOLDEN[key], rtol, atol=rtol * np.abs(GOLDEN[key]).mean(), err_msg=key)


@pytest.mark.parametrize('norm', ['FrozenBN', 'BN', 'SyncBN', 'GN', 'CBN'])
def test_every_norm_trains_and_predicts(norm):
    options = dict(GN=dict(num_groups=4), CBN=dict(buffer_num=2)).get(norm, {})
    late = (False, False, True, True)
    torch.manual_seed(0)
    model = MODELS.build(config(**{
        **SMALL_DETECTOR, **norms(dict(type=norm, **options)), 'backbone.type': 'ResNeXt', 'backbone.depth': 50,
        'backbone.base_channels': 8, 'backbone.groups': 2, 'backbone.zero_init_residual': False,
        'backbone.dcn': dict(type='DCNv2', deform_groups=2),
        'backbone.stage_with_dcn': late, 'backbone.plugins': [dict(context('after_conv3'), stages=late)],
        'neck.type': 'PAFPN', 'neck.in_channels': [32, 64, 128, 256]}))
    model.init_weights()
    images, targets = small_scene()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(2 if norm == 'CBN' else 1):
        optimizer.zero_grad()
        loss = total(losses(model.train(), images, targets))
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    learned = [name for name, value in model.named_parameters() if not value.equal(before[name])]
    for part in ('conv2.weight', 'conv2.conv_offset.weight', 'context_block.conv_mask.weight', 'neck.pafpn_convs.0'):
        assert any(part in name for name in learned), part
    detections = model.eval()(**model.data_preprocessor(data(images, targets)), mode='predict')
    assert all(sample.pred_instances.scores.isfinite().all() for sample in detections)


def test_offsets_and_masks_move_and_weigh_what_is_read():
    """An offset of whole pixels is a shifted image; mmcv's order is down, then right; of each weight of the window."""
    x = torch.randn(1, 4, 9, 9)
    for kind, share in (('DCN', 1), ('DCNv2', torch.sigmoid(torch.tensor(.5)))):
        conv = build_conv_layer(dict(type=kind), 4, 6, 3, padding=1, bias=False)
        with torch.no_grad():
            conv.conv_offset.bias[:18:2] = 1
            conv.conv_offset.bias[1:18:2] = -2
            conv.conv_offset.bias[18:] = .5
        moved = torch.zeros_like(x)
        moved[:, :, :-1, 2:] = x[:, :, 1:, :-2]
        inside = (..., slice(1, -2), slice(3, -1))
        torch.testing.assert_close(conv(x)[inside], share * F.conv2d(moved, conv.weight, padding=1)[inside])


def test_early_names_of_offsets_load():
    options = dict(depth=50, base_channels=8, dcn=dict(type='DCNv2'), stage_with_dcn=(False, True, True, True))
    model, other = ResNet(**options), ResNet(**options)
    early = {name.replace('conv2.conv_offset', 'conv2_offset'): value for name, value in other.state_dict().items()}
    assert early.keys() != model.state_dict().keys()
    model.load_state_dict(early)


def test_statistics_of_any_linear_convolution():
    """How mean and variance depend on the weights of a grouped convolution, by gradients as by windows."""
    class Same(Conv2d):
        def convolve(self, x, weight):
            return self._conv_forward(x, weight, self.bias)
    torch.manual_seed(0)
    plain, same = (kind(8, 12, 3, 2, 1, groups=4) for kind in (Conv2d, Same))
    same.load_state_dict(plain.state_dict())
    x = torch.randn(3, 8, 9, 7)
    y = plain(x).detach()
    for rows in (None, torch.tensor([True, False, True])):
        mean = (y if rows is None else y[rows]).mean((0, 2, 3))
        for ours, expected in zip(slopes(x, same, y, mean, rows), slopes(x, plain, y, mean, rows)):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('options', 'said'), [
    (dict(depth=18, dcn=dict(type='DCN'), stage_with_dcn=(True,) * 4), 'depth 50'),
    (dict(depth=50, dcn=dict(type='DCN'), stage_with_dcn=(True,)), 'stage_with_dcn'),
    (dict(depth=50, plugins=[dict(context('after_conv4'), stages=(True,) * 4)]), 'after_conv4'),
    (dict(depth=50, plugins=[dict(context('after_conv2'), stages=(True,) * 4)] * 2), 'postfix')])
def test_wrong_options_name_the_key(options, said):
    with pytest.raises(ValueError, match=said):
        ResNet(**options)


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_cbn_behind_deformable_convolutions_under_checkpointing_and_autocast(kind):
    norm = dict(type='CBN', buffer_num=2)
    torch.manual_seed(0)
    models = [ResNet(50, base_channels=4, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,), with_cp=cp,
                     norm_eval=False, norm_cfg=norm, dcn=dict(type=kind), stage_with_dcn=(False, True))
              for cp in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    for _ in range(3):
        x = torch.randn(2, 3, 32, 32)
        for model in models:
            model.zero_grad()
            model(x)[0].square().mean().backward()
        for (name, plain), again in zip(models[0].named_parameters(), models[1].parameters()):
            torch.testing.assert_close(again.grad, plain.grad, msg=name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out, = models[0](x)
        out.float().square().mean().backward()
    assert out.isfinite().all()
