"""Figures of mmdetection's analyze_logs.py, which was run on this log once."""
import json

import numpy as np
import pytest

from mmdet.errors import UserError
from mmdet.report.train_log import curve, read_log, seconds_an_iteration


@pytest.fixture
def log(tmp_path):
    """Three epochs of four lines, each with a validation behind it."""
    lines = []
    for epoch in (1, 2, 3):
        lines += [dict(lr=.01, time=round(.5 + .1 * epoch + .03 * i * i, 4), loss=4 - epoch + .1 * i, epoch=epoch,
                       iter=4 * epoch - 4 + i, memory=100, step=4 * epoch - 4 + i) for i in (1, 2, 3, 4)]
        lines.append({'coco/bbox_mAP': .1 * epoch, 'coco/segm_mAP': .05 * epoch, 'data_time': .1, 'time': 9.,
                      'step': epoch})
    path = tmp_path / 'scalars.json'
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def test_figures_of_mmdetection(log):
    epochs = read_log(log)
    for outliers, *expected in ((False, .85, 1.175, 1.0061, .1330), (True, .806, 1.09, .9487, .1159)):
        means = list(seconds_an_iteration(epochs, outliers).values())
        assert [means[0], means[2], np.mean(means), np.std(means)] == pytest.approx(expected, abs=5e-5)
    assert curve(epochs, 'bbox_mAP') == ([1, 2, 3], pytest.approx([.1, .2, .3]))
    steps, values = curve(epochs, 'loss')
    assert steps == list(range(1, 13)) and values[4] == pytest.approx(2.1)
    assert curve(epochs, 'loss', start_epoch=2)[0] == list(range(6, 13))


def test_other_files_are_named(tmp_path):
    (tmp_path / 'a.json').write_text('{"step": 1, "loss": 2}\n{"step"')
    with pytest.raises(UserError, match='line 2 of .*a.json is no JSON'):
        read_log(tmp_path / 'a.json')
    with pytest.raises(UserError, match='holds no TIMESTAMP'):
        read_log(tmp_path)
