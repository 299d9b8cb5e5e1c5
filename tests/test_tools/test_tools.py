"""The tools as a user runs them: processes of their own, from another folder."""
import json
import os
import pickle
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from run_tool import ROOT, run
from warm_process import run_two

from mmdet.report import Run

NO_REPORT = 'default_hooks.report=None'


def metrics(text, mode):
    """Figures of the last line that logs them."""
    line = [line for line in text.splitlines() if f'Epoch({mode})' in line and 'coco/bbox_mAP:' in line][-1]
    words = line.split()
    return {name: value for name, value in zip(words, words[1:], strict=False) if name.startswith('coco/')}


@pytest.fixture(scope='module')
def trained(tiny):
    """The log of a training of two epochs; its work_dir is `work` beside the config."""
    return run('train.py', tiny, '--work-dir', 'work', cwd=tiny.parent)


def test_training_writes_checkpoints_logs_and_config(tiny, trained):
    work = tiny.parent / 'work'
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint', 'tiny.py'} <= {path.name for path in work.iterdir()}
    assert 'coco/segm_mAP' in trained and 'eta:' in trained and 'memory:' in trained
    lines = [json.loads(line) for line in next(work.rglob('scalars.json')).read_text().splitlines()]
    assert any('coco/bbox_mAP' in line for line in lines) and any('loss_mask' in line for line in lines)
    assert 'The report of this training' in trained and 'Pictures' in (work / 'report.html').read_text()
    precision = Run.open(work).evaluated.precision
    for kind in ('bbox', 'segm'):
        known = precision[kind][..., 0]
        assert lines[-1][f'coco/{kind}_mAP'] == pytest.approx(known[known > -1].mean(), abs=5e-4)


def test_test_repeats_the_last_validation(tiny, trained):
    text = run('test.py', tiny, tiny.parent / 'work/epoch_2.pth', '--out', 'out.pkl', '--show-dir', 'shown',
               '--work-dir', 'tested', cwd=tiny.parent)
    assert metrics(text, 'test') == metrics(trained, 'val')
    results = pickle.loads((tiny.parent / 'out.pkl').read_bytes())
    assert len(results) == 8
    prediction = results[0]['pred_instances']
    assert len(prediction['bboxes']) == len(prediction['scores']) == len(prediction['masks']) <= 5
    assert isinstance(prediction['masks'][0]['counts'], (str, bytes))
    assert len(list((tiny.parent / 'tested').rglob('shown/*.jpg'))) == 8


def test_tta(tiny, trained):
    text = run('test.py', tiny, tiny.parent / 'work/epoch_2.pth', '--tta', '--work-dir', 'tested', cwd=tiny.parent)
    assert 'no tta_model' in text and 'no tta_pipeline' in text
    assert set(metrics(text, 'test')) == set(metrics(trained, 'val'))


def test_resume_goes_on(tiny, trained):
    text = run('train.py', tiny, '--work-dir', 'work', '--resume', '--cfg-options', 'train_cfg.max_epochs=3',
               NO_REPORT, cwd=tiny.parent)
    assert 'resumed epoch: 2, iter: 4' in text and 'Epoch(train) [3]' in text and 'Epoch(train) [2]' not in text
    text = run('train.py', tiny, '--work-dir', 'other', '--resume', tiny.parent / 'work/epoch_1.pth', '--cfg-options',
               NO_REPORT, cwd=tiny.parent)
    assert 'resumed epoch: 1, iter: 2' in text and 'Epoch(train) [2]' in text


def test_two_machines_train_and_two_processes_test(tiny):
    """Two launchers on this machine stand for one on each of two: both must end well, and rank 0 writes."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = str(sock.getsockname()[1])
    with ThreadPoolExecutor() as pool:
        text, _ = pool.map(lambda rank: run(
            'launch.py', 1, ROOT / 'tools/train.py', tiny, '--work-dir', 'dist', '--amp', '--auto-scale-lr', '--norm',
            'SyncBN', '--launcher', 'pytorch', '--cfg-options', 'auto_scale_lr.base_batch_size=16',
            'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', NO_REPORT, cwd=tiny.parent, NNODES='2', PORT=port,
            NODE_RANK=rank, MASTER_ADDR='127.0.0.1', NUMA_BINDING='node'), '01')
    assert 'Processes  2, launcher pytorch' in text and '[1/1]' in text
    assert 'current batch size is 8' in text and 'bfloat16' in text or 'AmpOptimWrapper' in text
    tested, _ = run_two(ROOT / 'tools/test.py', tiny.parent / 'dist/tiny.py', tiny.parent / 'dist/epoch_1.pth',
                        '--launcher', 'pytorch', '--work-dir', tiny.parent / 'dist')
    assert metrics(tested, 'test') == metrics(text, 'val')


@pytest.mark.parametrize('script, args, tool', [
    ('dist_train.sh', ['a.py', 2, '--amp'], 'train.py a.py --amp'),
    ('dist_test.sh', ['a.py', 'b.pth', 2, '--tta'], 'test.py a.py b.pth --tta'),
    ('dist_detect.sh', ['images', 'b', 2, '--out-dir', 'c'], 'image_demo.py images b --out-dir c')])
def test_scripts_start_the_launcher(script, args, tool, tmp_path):
    """echo stands for Python."""
    tools = ROOT / 'tools'
    assert run(script, *args, cwd=tmp_path, PYTHON='echo') == f'{tools}/launch.py 2 {tools}/{tool} --launcher pytorch\n'


@pytest.mark.parametrize('args, message', [
    (['none.py'], 'config none.py does not exist'),
    (['tiny.py', '--cfg-options', 'model.backbone.type=ResNett'], "unknown type 'ResNett'.*Did you mean 'ResNet'"),
    (['tiny.py', '--cfg-options', 'model.backbone.depht=18'], "no key 'depht'.*Did you mean 'depth'"),
    (['tiny.py', '--resume', 'none.pth'], 'checkpoint none.pth does not exist'),
    (['tiny.py', '--cfg-options', 'model.roi_head.bbox_head.num_classes=7', 'model.roi_head.mask_head.num_classes=7'],
     'num_classes is 7.*5 classes'),
    (['tiny.py', '--auto-scale-lr'], 'needs auto_scale_lr.base_batch_size'),
])
def test_mistakes_in_training_end_in_one_message(tiny, args, message):
    text = run('train.py', *args, cwd=tiny.parent, fails=True)
    assert re.search(f'error: .*{message}', text) and 'Traceback' not in text


def test_checkpoint_of_another_model(tiny, trained):
    text = run('test.py', tiny, 'work/epoch_1.pth', '--cfg-options', 'model.backbone.depth=34', cwd=tiny.parent,
               fails=True)
    assert 'work/epoch_1.pth does not fit MaskRCNN' in text and 'missing in the file' in text
    assert 'backbone.layer1.2' in text and 'Traceback' not in text


def test_mistakes_of_several_processes_end_without_tracebacks(tiny):
    text = run('launch.py', 2, ROOT / 'tools/train.py', 'none.py', '--launcher', 'pytorch', cwd=tiny.parent, fails=True)
    assert 'config none.py does not exist' in text and 'Traceback' not in text


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'dist_detect.sh', 'slurm_train.sh',
                                    'slurm_test.sh'])
def test_scripts_say_how_they_are_used(script, tmp_path):
    assert 'usage:' in run(script, cwd=tmp_path, fails=True)


def test_number_of_processes_is_checked(tmp_path):
    assert "not 'two'" in run('dist_train.sh', 'a.py', 'two', cwd=tmp_path, fails=True)


@pytest.mark.parametrize('script, args, expected', [
    ('slurm_train.sh', ['part', 'job', 'a.py', 'work', '--amp'],
     ['-p', 'part', '--job-name=job', '--ntasks=16', '--gres=gpu:8', '--ntasks-per-node=8', '--cpus-per-task=5',
      '--kill-on-bad-exit=1', '--exclude=n1', '--quiet', sys.executable, '-u', str(ROOT / 'tools/train.py'), 'a.py',
      '--work-dir=work', '--amp', '--launcher', 'slurm']),
    ('slurm_test.sh', ['part', 'job', 'a.py', 'b.pth'],
     ['-p', 'part', '--job-name=job', '--ntasks=16', '--gres=gpu:8', '--ntasks-per-node=8', '--cpus-per-task=5',
      '--kill-on-bad-exit=1', '--exclude=n1', '--quiet', sys.executable, '-u', str(ROOT / 'tools/test.py'), 'a.py',
      'b.pth', '--launcher', 'slurm'])])
def test_slurm_scripts_ask_for_what_mmdetections_do(tmp_path, script, args, expected):
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    wrong = run(script, *args, cwd=tmp_path, fails=True, PATH=f'{tmp_path}:{os.environ["PATH"]}')
    assert 'error: config a.py does not exist' in wrong and '--ntasks' not in wrong
    for name in ('a.py', 'b.pth'):
        (tmp_path / name).touch()
    text = run(script, *args, cwd=tmp_path, PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='16',
               SRUN_ARGS='--exclude=n1 --quiet')
    assert text.splitlines() == expected


@pytest.mark.parametrize('env, calls', [
    (dict(SLURM_JOB_ID='7'), ['srun', 'scontrol requeue 7']), (dict(REQUEUE='1'), ['srun', 'srun --resume']),
    ({}, ['srun'])], ids=['batch', 'asked', 'not asked'])
def test_slurm_scripts_requeue_a_stopped_training(tmp_path, env, calls):
    (tmp_path / 'srun').write_text('#!/bin/sh\nfor last; do :; done\n'
                                   '[ "$last" = --resume ] && echo srun --resume && exit 0\necho srun\nexit 75\n')
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho scontrol "$@"\n')
    for name in ('srun', 'scontrol'):
        (tmp_path / name).chmod(0o755)
    (tmp_path / 'a.py').touch()
    text = run('slurm_train.sh', 'part', 'job', 'a.py', 'work', cwd=tmp_path, fails='REQUEUE' not in env,
               PATH=f'{tmp_path}:{os.environ["PATH"]}', **env)
    assert text.splitlines() == calls


def test_image_demo(tiny, trained, tmp_path):
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.jpg'):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (90, 120, 3), np.uint8))
    run('image_demo.py', tmp_path, tiny, '--weights', tiny.parent / 'work/epoch_2.pth', '--out-dir', tmp_path / 'out',
        '--pred-score-thr', 0, cwd=tmp_path)
    assert cv2.imread(str(tmp_path / 'out/vis/a.png')).shape == (90, 120, 3)
    prediction = json.loads((tmp_path / 'out/preds/b.json').read_text())
    assert set(prediction) == {'labels', 'scores', 'bboxes', 'masks'} and len(prediction['masks']) <= 5
    text = run('image_demo.py', 'none.jpg', tiny, cwd=tmp_path, fails=True)
    assert 'none.jpg does not exist' in text and 'Traceback' not in text


def test_large_image_demo(tiny, trained, tmp_path):
    """The broken picture is named, the other done; the exit status is 1."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    (tmp_path / 'b.jpg').write_bytes(b'no picture')
    text = run('large_image_demo.py', tmp_path, tiny, tiny.parent / 'work/epoch_2.pth', '--patch-size', 80, '--save-as',
               'csv', '--score-thr', 0, cwd=tmp_path, fails=True)
    assert 'left out: image' in text and '1 of the pictures' in text and 'Traceback' not in text
    assert len((tmp_path / 'outputs/detections.csv').read_text().splitlines()) > 5


def test_print_config(tiny, tmp_path):
    text = run('print_config.py', tiny, '--cfg-options', 'model.backbone.depth=34', '--save-path', tmp_path / 'all.py',
               cwd=tmp_path)
    assert 'depth=34' in text and '_base_' not in text
    assert 'depth=34' in run('print_config.py', tmp_path / 'all.py', cwd=tmp_path)
