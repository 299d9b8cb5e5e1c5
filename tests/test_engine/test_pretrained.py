import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmdet.engine import PretrainedInit
from mmdet.registry import WEIGHT_INITIALIZERS


class Backbone(BaseModule):
    def __init__(self, init_cfg):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)


def built(checkpoint, **options):
    backbone = Backbone(dict(type='mmdet.Pretrained', checkpoint=str(checkpoint), **options))
    backbone.init_weights()
    return backbone


def test_config_gets_ours():
    assert WEIGHT_INITIALIZERS.get('Pretrained') is PretrainedInit


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr('mmdet.engine.pretrained.print_log', lambda text, *args: lines.append(text))
    return lines


@pytest.mark.parametrize('prefix', [None, 'backbone', 'backbone.'])
def test_weights_are_taken(tmp_path, log, prefix):
    source = Backbone(None).state_dict()
    names = {f'{prefix.strip(".")}.{name}' if prefix else name: value for name, value in source.items()}
    torch.save(dict(state_dict={**names, 'fc.weight': torch.ones(1)}), tmp_path / 'a.pth')
    backbone = built(tmp_path / 'a.pth', prefix=prefix)
    torch.testing.assert_close(backbone.state_dict(), source, rtol=0, atol=0)
    assert log == [f'Backbone takes its weights from {tmp_path / "a.pth"}']


def test_misfits_are_told(tmp_path, log):
    weights = Backbone(None).state_dict()
    del weights['norm.bias']
    torch.save(weights, tmp_path / 'a.pth')
    built(tmp_path / 'a.pth')
    assert len(log) == 2 and 'missing in the file: 1' in log[1] and 'norm.bias' in log[1]


def test_nothing_that_fits_is_an_error(tmp_path):
    torch.save({f'backbone.{name}': value for name, value in Backbone(None).state_dict().items()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='nothing in init_cfg.checkpoint .*a.pth fits Backbone'):
        built(tmp_path / 'a.pth')
    with pytest.raises(FileNotFoundError, match='none.pth does not exist'):
        built(tmp_path / 'none.pth')
