"""The benchmarks and comparisons in their short form: they run and their tables hold what they promise."""
import argparse
import contextlib
import importlib.util
import io
import json
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mask_rcnn import SMALL
from run_tool import ROOT, run

import mmdet
from mmdet.datasets.annotations import read_annotations
from mmdet.errors import UserError

ANALYSIS = ROOT / 'tools/analysis'


def load(name, monkeypatch, folder=ANALYSIS):
    """A script as a module."""
    monkeypatch.syspath_prepend(str(ANALYSIS))
    spec = importlib.util.spec_from_file_location(name, folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed_by(module, monkeypatch, capsys, *args):
    """What the script prints that `module` is."""
    monkeypatch.setattr(module, 'keep_freed_memory', lambda: None, raising=False)  # the other tests' process, too
    monkeypatch.setattr(sys, 'argv', ['', '--device', 'cpu', *map(str, args)])
    module.main()
    return capsys.readouterr().out


def narrow(args, cfg_options=None):
    """Our model of few channels in place of the whole one."""
    from timed_models import Ours
    return Ours(args, {**(cfg_options or {}), **{f'model.{key}': value for key, value in SMALL.items()}})


def table(text):
    """Cells of the lines that are table rows, without the head."""
    lines = [[cell.strip() for cell in line.strip('| \n').split('|')] for line in text.splitlines() if '|' in line]
    return [line for line in lines if not set(line[0]) <= {'-'}][1:]


def test_functions_take_turns(monkeypatch):
    timing = load('timing', monkeypatch)
    called = []
    times = timing.alternate({'a': lambda: called.append('a'), 'b': lambda: called.append('b')}, 3, warmup=1)
    assert ''.join(called) == 'abababab' and [len(times[name]) for name in 'ab'] == [3, 3]


def test_ratio_is_of_medians(monkeypatch):
    timing = load('timing', monkeypatch)
    lines = timing.rows('what', {'ours': [0.002, 0.001, 0.009], 'theirs': [0.004, 0.004, 0.004]}, 'theirs')
    assert [(line[1], line[2], line[4]) for line in lines] == [('ours', '2', '0.50'), ('theirs', '4', '1.00')]
    text = timing.markdown(lines).splitlines()
    assert len({len(line) for line in text}) == 1 and text[0].split('|')[1].strip() == 'what'


def test_benchmarks_of_operators_and_norms(monkeypatch, capsys):
    for name, size, args, expected in (
            ('benchmark_ops', (96, 128), ['--boxes', 50, '--dtype', 'float32', '--convs', '2x16x32x32'], 22),
            ('benchmark_norms', None, ['--shapes', '2x32x5x5'], 5)):
        module = load(name, monkeypatch)
        monkeypatch.setattr(module, 'SIZE', size, raising=False)
        lines = table(printed_by(module, monkeypatch, capsys, *args, '--repeats', 1))
        assert len(lines) == expected
        assert all(float(line[2]) > 0 and float(line[4]) > 0 for line in lines)


def test_first_items_do_not_count(monkeypatch):
    """Of 9 items 2 warm up and 4 count: 1 + 2 + 3 + 4 s of work by the clock."""
    benchmark, clock, told = load('benchmark', monkeypatch), [0.], []
    monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: clock[0])
    args = argparse.Namespace(num_warm_iter=2, max_iter=4, log_interval=3)

    def work(seconds):
        clock[0] += seconds

    assert benchmark.measure([90, 80, 1, 2, 3, 4, 70, 60, 50], work, 'img', args, told.append) == pytest.approx(0.4)
    assert told == ['3 of at most 4: 0.50 img/s, 2000.00 ms/img']
    with pytest.raises(UserError, match='--num-warm-iter'):
        benchmark.measure([90, 80], work, 'img', args)


@pytest.mark.parametrize('task', ['inference', 'dataloader'])
def test_benchmark_of_a_config(task, tiny):
    text = run('analysis/benchmark.py', tiny, '--task', task, '--num-warm-iter', 1, '--max-iter', 3, cwd=tiny.parent)
    rate, time = re.search(r'overall: ([\d.]+) \w+/s, ([\d.]+) ms/', text).groups()
    assert float(rate) * float(time) == pytest.approx(1000, rel=0.1) and 'peak memory' in text


def test_data_pipeline_of_a_config(tmp_path):
    lines = table(run('analysis/benchmark_data.py', '--count', 2, '--repeats', 1, cwd=tmp_path))
    assert [line[0] for line in lines][:2] == ['LoadImageFromFile', 'LoadAnnotations'] and lines[-1][0] == 'all'
    assert abs(sum(float(line[1]) for line in lines[:-1]) - float(lines[-1][1])) < 0.05


def test_all_benchmarks_in_short_form(monkeypatch, tmp_path):
    """In this process, which has the libraries."""
    module = load('benchmark', monkeypatch, ROOT / 'tools')

    def in_this_process(words, **options):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            monkeypatch.setattr(sys, 'argv', words[1:])
            runpy.run_path(words[1], run_name='__main__')
        return subprocess.CompletedProcess(words, 0, printed.getvalue())
    monkeypatch.setattr(subprocess, 'run', in_this_process)
    monkeypatch.setattr(sys, 'argv', ['', '--short', '--only', 'masks', '--out', str(tmp_path / 'out')])
    module.main()
    text = (tmp_path / 'out/benchmark.md').read_text()
    assert [line for line in text.splitlines() if line.startswith('## ')] == ['## masks']
    assert (tmp_path / 'out/benchmark.png').read_bytes().startswith(b'\x89PNG')


def test_both_sides_of_the_model_benchmark_train(monkeypatch, capsys):
    """Every learned weight gets a gradient, most of them not 0."""
    module = load('benchmark_model', monkeypatch)
    built = {}

    def side_of(name, make):
        def build(args):
            built[name] = make(args)
            return built[name]
        return build
    sides = dict(mmdet=narrow, torchvision=module.SIDES['torchvision'])
    monkeypatch.setattr(module, 'SIDES', {name: side_of(name, make) for name, make in sides.items()})
    lines = table(printed_by(module, monkeypatch, capsys, 'inference', '--size', '64x96', '--batch-size', 1,
                             '--objects', 3, '--repeats', 1, '--dtype', 'float32'))
    assert [line[1] for line in lines] == ['mmdet', 'torchvision']
    assert all(float(line[2]) > 0 and float(line[4]) > 0 for line in lines)
    for side in built.values():
        module.training_step(side, torch.float32, 'cpu')()
        grads = [parameter.grad for parameter in side.model.parameters() if parameter.requires_grad]
        assert all(grad is not None and grad.isfinite().all() for grad in grads)
        assert sum(bool(grad.any()) for grad in grads) > len(grads) / 2


def test_a_model_in_another_process(monkeypatch, tmp_path, capfd):
    """Our package passes for mmdetection there: it has its name, and a config of this name."""
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    args = argparse.Namespace(device='cpu', size='64x96', batch_size=1, objects=3)
    other = load('other_process', monkeypatch).OtherProcess(python, args)
    for what in ('train', 'inference'):
        (name, step), = other.steps(what, 'float32').items()
        assert name == f'mmdetection {mmdet.__version__}'
        step()
    assert other.steps('train', 'none') == {} and 'train none fails: AttributeError' in capfd.readouterr().err
    other.process.kill()
    with pytest.raises(UserError, match='python has ended'):
        step()


def test_images_a_second(monkeypatch):
    lines = [['train', 'mmdet', '500', '', ''], ['train', 'torchvision', '1e+03', '', '']]
    text = load('benchmark_model', monkeypatch).images_a_second(lines, 16)
    assert text == 'images a second: train mmdet 32, train torchvision 16'


def test_norms_are_compared_and_not_trained_twice(tiny):
    args = [tiny, '--norms', 'GN', '--work-dir', 'compared', '--cfg-options', 'train_cfg.max_epochs=1',
            'train_cfg.val_interval=1', 'default_hooks.report=None']
    first = run('analysis/compare_norms.py', *args, cwd=tiny.parent)
    assert 'train.py' in first
    lines = table((tiny.parent / 'compared/table.md').read_text())
    assert [line[0] for line in lines] == ['GN']
    assert all(0 <= float(cell) <= 1 for line in lines for cell in line[1:-1])
    again = run('analysis/compare_norms.py', *args, cwd=tiny.parent)
    assert 'train.py' not in again and table(again)[-1:] == lines


def test_sync_bn_trains_in_two_processes_that_share_the_batch(tiny, monkeypatch):
    args = argparse.Namespace(config=str(tiny), work_dir=Path('w'), cfg_options=['a=1'], sync_processes=2)
    words = load('compare_norms', monkeypatch).norm_command(args, 'SyncBN')
    assert words[1:] == [str(ROOT / 'tools/launch.py'), '2', str(ROOT / 'tools/train.py'), str(tiny), '--work-dir',
                         'w/SyncBN', '--resume', '--norm', 'SyncBN', '--launcher', 'pytorch', '--cfg-options', 'a=1',
                         'train_dataloader.batch_size=2']


def test_a_training_that_fails_is_named(tiny):
    text = run('analysis/compare_norms.py', tiny, '--norms', 'GN', '--work-dir', 'failed', '--cfg-options',
               'no_option', cwd=tiny.parent, fails=True)
    output = re.search(r'(\S+output\.txt) says why', text)[1]
    assert 'no_option' in Path(tiny.parent, output).read_text()


def test_growth_measures_the_case_it_names(monkeypatch, capsys):
    module = load('benchmark_growth', monkeypatch)
    monkeypatch.setattr(module, 'BASE', dict(module.BASE, size='64x64', batch_size=1, proposals=50, rois=16))
    built = []

    def ours(args, cfg_options):
        built.append((args, cfg_options))
        return narrow(args, cfg_options)
    monkeypatch.setattr(module, 'Ours', ours)
    monkeypatch.setattr(sys, 'argv', ['', '--device', 'cpu', '--steps', '1', '--case', 'classes', '90'])
    module.main()
    found = json.loads(capsys.readouterr().out)
    assert found['value'] == '90' and found['s a step'] > 0 and found['MiB at most'] >= 0
    args, options = built[0]
    assert args.size == '64x64' and options['model.roi_head.bbox_head.num_classes'] == 90


def test_growth_of_whole_runs(monkeypatch, capsys, tmp_path):
    """A measured loader, and lines of an earlier run: the latest of each case is shown."""
    module = load('benchmark_growth', monkeypatch)
    monkeypatch.setattr(module, 'run', lambda name, value, args: json.dumps(
        dict(what=name, value=value, **module.RUNS[name](int(value), 1), dtype='float32', machine='here')))
    earlier = [dict(what='images', value='1000', dtype='float32', machine='there', **{'s of a later one': seconds})
               for seconds in (7, 3)]
    (tmp_path / 'growth.jsonl').write_text(''.join(f'{json.dumps(line)}\n' for line in earlier))
    text = printed_by(module, monkeypatch, capsys, '--only', 'workers', '--values', 0, '--out', tmp_path / 'growth')
    assert float(table(text)[0][1]) > 0 and '| 1000  | 3 ' in text
    assert (tmp_path / 'growth.png').read_bytes().startswith(b'\x89PNG')
    sys.modules['growth_of_runs'].repeat(tmp_path / 'a.json', 3)
    found = read_annotations(tmp_path / 'a.json')
    assert (found.num_images, found.num_objects) == (3000, 3000)


def test_norms_in_whole_steps(monkeypatch, capsys):
    module = load('benchmark_norms', monkeypatch)
    monkeypatch.setattr(module, 'Ours', narrow)
    lines = table(printed_by(module, monkeypatch, capsys, '--step', '1x64x64', '--norms', 'SyncBN', 'CBN',
                             '--repeats', 1))
    assert [line[1] for line in lines] == ['SyncBN', 'CBN'] and lines[0][4] == '1.00'


def test_generated_annotations_are_read_when_asked(monkeypatch, capsys, tmp_path):
    module = load('benchmark_annotations', monkeypatch)
    module.generate(tmp_path / 'a.json', 30, 200)
    module.generate(tmp_path / 'b.json', 30, 200)
    assert (tmp_path / 'a.json').read_bytes() == (tmp_path / 'b.json').read_bytes()
    table = read_annotations(tmp_path / 'a.json')
    assert (table.num_images, table.num_objects, table.crowd.sum(), len(table.numbers_at)) == (30, 200, 2, 199)
    monkeypatch.setattr(sys, 'stdin', io.StringIO('\n\n\n'))
    module.hold(str(tmp_path / 'a.json'))
    _, read, held = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(module.ANSWER)]
    assert 0 < float(read[1]) < 10 and float(read[2]) > 2 ** 20 and len(held) == 2


def test_get_flops(tmp_path):
    config = ROOT / 'configs/demo/mask-rcnn_demo_256.py'
    text = run('analysis/get_flops.py', config, '--shape', 60, 64, '--layers', cwd=tmp_path)
    assert '60 x 64, computed as 64 x 64' in text and '150 proposals, 100 masks' in text
    lines = {line[0]: [float(cell) for cell in line[1:]] for line in table(text)}
    assert lines['backbone.conv1'][:2] == [0.005, 0.010]  # 32 x 32 x 32 x 3 x 7 x 7 = 4.8 million
    macs, flops, parameters, _ = lines.pop('all')
    assert math.isclose(flops, 2 * macs, abs_tol=0.002)
    assert math.isclose(macs, sum(line[0] for line in lines.values()), abs_tol=0.0005 * len(lines))
    assert 'no height and width' in run('analysis/get_flops.py', config, '--shape', 0, cwd=tmp_path, fails=True)


def test_slope_error(tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny.parent)
    monkeypatch.setattr(sys, 'argv', ['', str(tiny), '--steps', '4', '--every', '2'])
    load('slope_error', monkeypatch).main()
    lines = table(capsys.readouterr().out)
    assert len(lines) == 4 and float(lines[0][2]) > float(lines[1][2])
