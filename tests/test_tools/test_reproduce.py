"""tools/reproduce.py: its rows name configs and checkpoints, and a figure outside its tolerance is told."""
import sys
from contextlib import nullcontext

import pytest
from run_tool import ROOT

from mmdet.errors import UserError

sys.path.insert(0, str(ROOT / 'tools'))
import reproduce  # noqa: E402


def test_docs_hold_the_rows_and_configs_are_there():
    rows = reproduce.read_rows()
    assert reproduce.tables(rows) in (ROOT / 'docs/published.md').read_text()
    ours = [row for row in rows.values() if row['source'] != 'mmdetection']
    assert len(ours) >= 26 and all((ROOT / 'configs' / row['config']).is_file() for row in ours)
    assert all(row['box'] and (row['checkpoint'] or row['source'] != 'mmdetection' or 'lsj-100e' in row['name'])
               for row in rows.values())
    assert reproduce.hours(rows['cbn/mask_rcnn_r50_fpn_gn_1x']) == f'{12 * 117266 / 16 * 0.108 / 3600:.1f}'


def test_near_names_are_told():
    with pytest.raises(UserError, match='did you mean mask-rcnn_r50_fpn_1x_coco'):
        reproduce.find(reproduce.read_rows(), 'mask-rcnn_r50_fpn_1x_coc')


def test_a_run_is_compared(tmp_path, monkeypatch, capsys):
    script = tmp_path / 'train.py'  # stands for the command: it writes what a training logs
    script.write_text("""import json, pathlib, sys
folder = pathlib.Path(sys.argv[2]) / '20260101/vis_data'
folder.mkdir(parents=True)
figures = {'coco/bbox_mAP': 0.639, 'coco/segm_mAP': float(sys.argv[3])}
(folder / 'scalars.json').write_text(json.dumps({'loss': 1}) + '\\n' + json.dumps(figures))""")
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', 'mask-rcnn_demo-gn', '--run'])
    for mask in ('0.575', '0.55'):  # published: 57.9 +- 2
        words = [sys.executable, str(script), '--work-dir', str(tmp_path / mask), mask]
        monkeypatch.setattr(reproduce, 'command', lambda row, args, words=words: (words, 'demo'))
        with pytest.raises(SystemExit, match='1') if mask == '0.55' else nullcontext():
            reproduce.main()
    told = capsys.readouterr().out
    assert 'segm_mAP: 57.5, published 57.9 +- 2: as' in told and 'segm_mAP: 55.0, published 57.9 +- 2: DIFF' in told
