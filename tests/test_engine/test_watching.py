"""What stops a training early, and what a terminal shows of it."""
import io
import json
import re
import sys

import pytest
from toy_run import train

from mmdet.engine import Runner
from mmdet.errors import UserError
from mmdet.registry import HOOKS

STOP = dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='mAP', min_delta=1000., patience=3)])


def test_early_stopping_counts_on_when_resumed(tmp_path):
    """The first validation is the best, and the third after it ends the training, wherever it was broken off."""
    unbroken = train(tmp_path / 'unbroken', **{'train_cfg.max_epochs': 9, **STOP})
    assert unbroken.epoch == 4
    for end in (2, 3):
        train(tmp_path / f'{end}', **{'train_cfg.max_epochs': end, **STOP})
        resumed = train(tmp_path / f'{end}', **{'train_cfg.max_epochs': 9, 'resume': True, **STOP})
        assert resumed.epoch == 4
    assert train(tmp_path / 'anew', load_from=str(tmp_path / '3/epoch_3.pth'),
                 **{'train_cfg.max_epochs': 9, **STOP}).epoch == 4


def test_a_test_needs_no_training_data(tmp_path):
    from toy_run import config
    cfg = config(tmp_path, experiment_name=str(tmp_path), **{'train_dataloader.dataset.length': 'none'}, **STOP)
    Runner.from_cfg(cfg).test()


def test_the_rule_must_be_known():
    with pytest.raises(UserError, match="monitor='score'.*rule='greater' or rule='less'"):
        HOOKS.build(dict(type='EarlyStoppingHook', monitor='score'))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_lines_elsewhere(tmp_path, monkeypatch, capsys):
    text = {}
    for name, stream in (('terminal', Terminal()), ('pipe', io.StringIO())):
        monkeypatch.setattr(sys, 'stderr', stream)
        monkeypatch.setattr(sys, 'stdout', stream)
        train(tmp_path / name, **{'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1})
        text[name] = stream.getvalue()
    assert re.search(r'validation:.*4/4', text['terminal']) or 'evaluating' in text['terminal']
    assert 'Epoch(val) [1][2/4]' not in text['terminal'] and 'mAP: ' in text['terminal']
    assert 'validation:' not in text['pipe'] and 'Epoch(val) [1][2/4]' in text['pipe']
    log, = (tmp_path / 'terminal').glob('*/*.log')
    assert 'Epoch(val) [1][2/4]' in log.read_text()


def test_the_line_of_a_validation_repeats_no_table(tmp_path, monkeypatch):
    from toy_run import ToyMetric
    figures = {'coco/bbox_mAP': .5, 'coco/bbox_mAP_50': .6, 'coco/bbox_mAP_s': .1, 'coco/traffic light_precision': .2,
               'val_loss': .3}
    monkeypatch.setattr(ToyMetric, 'compute_metrics', lambda *_: figures)
    train(tmp_path, **{'train_cfg.max_epochs': 1})
    line = next(line for path in tmp_path.glob('*/*.log') for line in path.read_text().splitlines()
                if 'coco/bbox_mAP: 0.5000' in line)
    assert 'mAP_' not in line and 'light' not in line and 'val_loss: 0.3000' in line and 'data_time' in line
    logged = [json.loads(line) for path in tmp_path.glob('*/vis_data/scalars.json') for line in open(path)][-1]
    assert figures.items() <= logged.items()
