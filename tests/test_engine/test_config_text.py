from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet.engine.config_text import WIDTH, config_text
from mmdet.literals import literal_config

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize('name', ['demo/mask-rcnn_demo.py', 'gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py'])
def test_reading_it_gives_the_config(name):
    cfg = Config.fromfile(next(CONFIGS.glob(name)))
    text = cfg.pretty_text
    assert Config.fromstring(text, '.py').to_dict() == literal_config(text) == cfg.to_dict()
    assert max(map(len, text.splitlines())) <= WIDTH


def test_values_of_every_kind():
    cfg = dict(one=(1,), none=(), empty={}, nested=[[1, 'a"\'b'], ('x' * 100, {'lambda': 1, 'a b': None, 3: True})],
               deep=dict(type='A', rows=[dict(name='y' * 70, size=(1, 2))] * 2, a=-1e-5), text='two\nlines')
    text = config_text(cfg)
    assert literal_config(text) == cfg
    assert "deep = dict(\n    type='A',\n    a=-1e-05,\n    rows=[\n        dict(name=" in text
