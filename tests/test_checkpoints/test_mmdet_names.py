"""mmdetection's checkpoints of 1.x, 2.x and 3.x, and plain ResNet backbones."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mask_rcnn import SMALL, config

from mmdet.checkpoints import load_weights, read_checkpoint
from mmdet.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'
GN = dict(type='GN', num_groups=32)
GN_ALL = {'backbone.norm_cfg': dict(_delete_=True, **GN), 'neck.norm_cfg': GN,
          'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead', 'roi_head.bbox_head.norm_cfg': GN,
          'roi_head.mask_head.norm_cfg': GN}


def values(shapes):
    random = np.random.default_rng(0)
    return {name: torch.from_numpy(random.integers(-99, 99, shape).astype(np.float32))
            for name, shape in shapes.items()}


@pytest.mark.parametrize(('keys', 'options'), [('mask_rcnn_r50_fpn', {}), ('mask_rcnn_r50_fpn_gn_all', GN_ALL)])
@pytest.mark.parametrize('version', ['2.28.2', '3.3.0'])
def test_mmdetection_names_both_ways(tmp_path, keys, options, version):
    """What mmdetection 3.3 wrote loads strictly, and what is written here has its names and shapes and no others."""
    shapes = {}
    for line in (GOLDEN / f'{keys}.keys.txt').read_text().splitlines():
        name, _, shape = line.partition(' ')
        shapes[name] = tuple(int(size) for size in shape.strip('()').split(',') if size.strip())
    state = values(shapes)
    torch.save(dict(state_dict=state, meta=dict(mmdet_version=version, CLASSES=('a', 'b'))), tmp_path / 'epoch_12.pth')
    model = MODELS.build(config(**options))
    checkpoint = read_checkpoint(tmp_path / 'epoch_12.pth')
    assert 'conversion' not in checkpoint and checkpoint['meta']['mmdet_version'] == version
    assert not load_weights(model, checkpoint, strict=True)
    written = model.state_dict()
    assert {name: tuple(value.shape) for name, value in written.items()} == shapes
    for name, value in state.items():
        assert torch.equal(written[name].float(), value), name


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.filterwarnings('ignore:.*aligned. the weights need False')
def test_mmdetection_1x(tmp_path, prefix):
    """Heads outside roi_head, 81 rows with background first."""
    model = MODELS.build(config(**SMALL))
    expected = values({name: value.shape for name, value in model.state_dict().items() if 'tracked' not in name})
    state = {}
    for name, value in expected.items():
        if '.fc_cls.' in name:
            value = torch.cat([value[80:], value[:80]])
        elif '.fc_reg.' in name:
            value = torch.cat([torch.full_like(value[:4], 7), value])
        elif '.conv_logits.' in name:
            value = torch.cat([torch.full_like(value[:1], 7), value])
        state[prefix + name.replace('roi_head.', '')] = value
    torch.save(dict(state_dict=state, meta=dict(mmdet_version='1.2.0')), tmp_path / 'epoch_12.pth')
    checkpoint = read_checkpoint(tmp_path / 'epoch_12.pth')
    assert not load_weights(model, checkpoint, strict=True)
    for name, value in model.state_dict().items():
        assert 'tracked' in name or torch.equal(value, expected[name]), name
    conversion = checkpoint['conversion']
    assert conversion.source == 'mmdetection 1.x' and not conversion.unknown
    assert conversion.conventions.aligned is False and conversion.conventions.box_width == 'x2 - x1 + 1'


def test_cascades_of_1x(tmp_path):
    """Each head's background, which stood first, stands last."""
    weight = torch.arange(81.)[:, None].expand(81, 4)
    torch.save(dict(state_dict={f'bbox_head.{i}.fc_cls.weight': weight + i for i in range(3)}), tmp_path / 'a.pth')
    weights = read_checkpoint(tmp_path / 'a.pth')['state_dict']
    for i in range(3):
        assert weights[f'roi_head.bbox_head.{i}.fc_cls.weight'][:, 0].tolist() == [*range(1 + i, 81 + i), i]


def resnet(norm='bn'):
    norm_cfg = dict(type='GN', num_groups=16) if norm == 'gn' else dict(type='BN')
    module = MODELS.build(dict(type='ResNet', depth=18, base_channels=16, norm_cfg=norm_cfg))
    return module, values({name: value.shape for name, value in module.state_dict().items()})


@pytest.mark.parametrize(('wrap', 'classifier'), [
    (lambda state: state, 'fc.weight'),
    (lambda state: {'state_dict': {f'module.{name}': value for name, value in state.items()}}, 'fc.weight'),
    (lambda state: {'state_dict': {f'{"head" if "fc." in name else "backbone"}.{name}': value
                                   for name, value in state.items()}}, 'head.fc.weight'),
    (lambda state: {'model': state, 'epoch': 3}, 'fc.weight'),
], ids=['plain', 'module', 'mmpretrain', 'timm'])
def test_resnets(tmp_path, wrap, classifier):
    module, state = resnet()
    torch.save(wrap({**state, 'fc.weight': torch.zeros(1000, 128)}), tmp_path / 'resnet18.pth')
    import mmdet.engine  # noqa: F401  its PretrainedInit
    for prefix in (None, 'backbone.'):
        built = MODELS.build(dict(type='ResNet', depth=18, base_channels=16, init_cfg=dict(
            type='mmdet.Pretrained', checkpoint=str(tmp_path / 'resnet18.pth'), prefix=prefix)))
        built.init_weights()
        for name, value in built.state_dict().items():
            assert torch.equal(value.float(), state[name]), name
    conversion = read_checkpoint(tmp_path / 'resnet18.pth')['conversion']
    assert list(conversion.dropped) == [classifier]


def test_group_norm_that_is_called_bn(tmp_path):
    """timm's resnet50_gn names its group norms bn1."""
    module, state = resnet('gn')
    torch.save({name.replace('gn', 'bn'): value for name, value in state.items()}, tmp_path / 'resnet18_gn.pth')
    assert not load_weights(module, read_checkpoint(tmp_path / 'resnet18_gn.pth'), strict=True)
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(('change', 'part'), [
    (lambda state: {'conv1.0.weight': state.pop('conv1.weight')}, 'a stem of several convolutions .conv1.0.weight'),
    (lambda state: {'stem.0.weight': state.pop('conv1.weight')}, 'a stem of several convolutions .stem.0.weight'),
    (lambda state: {'conv1.weight': torch.zeros(64, 3, 3, 3)}, r'conv1.weight of shape \(64, 3, 3, 3\)'),
    (lambda state: {'layer1.0.se.fc1.weight': torch.zeros(1)}, 'the part layer1.0.se.fc1.weight'),
    (lambda state: {'layer1.0.conv2_offset.weight': torch.zeros(1)}, 'the part layer1.0.conv2_offset.weight'),
    (lambda state: {'layer2.0.downsample.1.weight': torch.zeros(128, 64, 1, 1)}, 'shortcuts that average'),
    (lambda state: {'layer1.0.conv2.weight': torch.zeros(64, 32, 3, 3)}, 'convolutions in groups'),
    (lambda state: {'layer1.2.conv1.weight': torch.zeros(64, 64, 3, 3)}, r'stages of \(3, 2, 2, 2\) basic blocks'),
    (lambda state: {'layer2.1.conv1.weight': torch.zeros(256, 128, 3, 3),
                    'layer2.1.conv2.weight': torch.zeros(128, 256, 3, 3)}, 'a stage 2 of 256 channels'),
])
def test_other_backbones_are_named(tmp_path, change, part):
    _, state = resnet()
    state.update(change(state))
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f'a.pth .ResNet.: the backbone has .*{part}'):
        read_checkpoint(tmp_path / 'a.pth')
