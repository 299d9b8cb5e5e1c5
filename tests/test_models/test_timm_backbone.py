import pytest
import torch
from mask_rcnn import SMALL, config, data, losses, total
from scene import small_scene

from mmdet.models.backbones import TIMMBackbone
from mmdet.models.layers import GN, FrozenBN, SyncBN
from mmdet.registry import MODELS

timm = pytest.importorskip('timm')


@pytest.mark.parametrize(('norm', 'kind'), [('FrozenBN', FrozenBN), ('SyncBN', SyncBN)])
def test_norms_keep_what_timm_learned(norm, kind):
    ours = TIMMBackbone('test_efficientnet', norm_cfg=dict(type=norm), out_indices=(1, 2, 3))
    peer = timm.create_model('test_efficientnet', features_only=True, out_indices=(1, 2, 3))
    count = sum(isinstance(module, torch.nn.BatchNorm2d) for module in peer.modules())
    assert sum(isinstance(module, kind) for module in ours.modules()) == count > 5
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own, other in zip(ours.state_dict().values(), peer.state_dict().values(), strict=True):
            if other.is_floating_point():
                other.copy_(torch.rand(other.shape, generator=g) * .2 + .1)
            own.copy_(other)
    x = torch.randn(1, 3, 64, 64)
    for own, other in zip(ours.eval()(x), peer.eval()(x)):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


def test_channels_come_first():
    swin = TIMMBackbone('swin_tiny_patch4_window7_224', timm_options=dict(
        strict_img_size=False, embed_dim=8, depths=(1, 1), num_heads=(1, 2)))
    assert [tuple(out.shape) for out in swin(torch.randn(1, 3, 64, 96))] == [(1, 8, 16, 24), (1, 16, 8, 12)]
    assert swin.out_channels == [8, 16]


def test_trains_with_another_norm():
    options = {key: value for key, value in SMALL.items() if not key.startswith('backbone')}
    cfg = config(**{**options, 'neck.in_channels': [32, 48, 192, 96]})
    cfg.backbone = dict(type='TIMMBackbone', model_name='test_resnet', out_indices=(1, 2, 3, 4),
                        norm_cfg=dict(type='GN', num_groups=8))
    model = MODELS.build(cfg).train()
    assert any(isinstance(module, GN) for module in model.backbone.modules())
    total(losses(model, *small_scene())).backward()
    assert all(parameter.grad is not None for name, parameter in model.backbone.named_parameters())
    assert len(model.eval()(**model.data_preprocessor(data(*small_scene())), mode='predict')) == 2


@pytest.mark.parametrize(('options', 'said'), [
    (dict(model_name='resnet18x'), 'Unknown model'),
    (dict(model_name='test_resnet', norm_cfg=dict(type='CBN')), 'CBN'),
    (dict(model_name='test_resnet', timm_options=dict(nothing=1)), 'nothing')])
def test_mistakes_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        TIMMBackbone(**options)
