"""The example of docs/norms.md, and who asks a norm for what."""
import re
from pathlib import Path

import pytest
import torch
from mask_rcnn import build
from torch import nn

from mmdet.models.layers import CBN, NormProtocol, SyncBN
from mmdet.registry import MODELS

PAGE = (Path(__file__).parents[3] / 'docs/norms.md').read_text().split('## A norm of your own')[1]


@pytest.fixture(scope='module')
def example():
    names = {}
    exec(re.search(r'```python\n(.*?)```', PAGE, re.DOTALL)[1], names)
    yield names
    MODELS.module_dict.pop('WeightScale')


def test_the_example_runs(example):
    layer = example['layer']
    assert list(layer.state_dict()) == ['conv.weight', 'ws.weight'] and example['out'].shape == (2, 8, 16, 16)
    norm, x = layer.ws, torch.randn(2, 3, 16, 16)
    norm.set_epoch_length(2)
    for iteration, share in ((1, .5), (2, 1), (3, 1)):
        assert norm.iteration == iteration
        scale = layer.conv.weight.flatten(1).norm(dim=1) ** share
        torch.testing.assert_close(layer(x), layer.conv(x) / scale.view(-1, 1, 1))
    norm.recording = False
    layer(x)
    assert norm.iteration == 4
    assert layer(x[:0]).shape == (0, 8, 16, 16)


def test_the_page_lists_the_protocol():
    told = set(re.findall(r'^\| `(\w+)', PAGE, re.MULTILINE))
    members = {name for name in (*NormProtocol.__annotations__, *vars(NormProtocol))
               if name == '_abbr_' or not name.startswith('_')}
    assert told == members


@pytest.mark.parametrize('kind', ['BN', 'GN', 'WeightScale', 'CBN', 'SyncBN'])
def test_compile_leaves_parts_whose_norms_break_graphs(example, monkeypatch, kind):
    norm_cfg = dict(type=kind, **(dict(num_groups=8) if kind == 'GN' else {}))
    model, compiled = build(**{'neck.norm_cfg': norm_cfg}), []
    monkeypatch.setattr(nn.Module, 'compile', lambda module, **options: compiled.append(module))
    model.compile()
    assert model.backbone in compiled and (model.neck in compiled) == (kind in ('BN', 'GN'))


def test_only_those_that_say_so_break_graphs():
    assert CBN.breaks_graphs and SyncBN.breaks_graphs and not hasattr(nn.BatchNorm2d, 'breaks_graphs')
