import argparse
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from each import each
from torch.utils.data import DataLoader, Dataset

from mmdet.checkpoints import read_checkpoint
from mmdet.command_line import NORM_NAMES, ToolParser, add_run_options, plain_errors, prepare_run, user_mistake
from mmdet.engine.config import read_config
from mmdet.engine.norm_option import NORMS
from mmdet.errors import UserError

TOOLS = Path(__file__).parents[1] / 'tools'

CONFIG = "model = dict(type='A', parts=[dict(a=1), dict(a=2)])\nlr = 0.1\nwork_dir = None\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'net.py'
    path.write_text(CONFIG)
    return str(path)


def test_options_override_the_config(config, capsys):
    cfg = read_config(config, {'lr': 0.2, 'model.parts.1.a': 5, 'new.key': 1})
    assert cfg.lr == 0.2 and cfg.model.parts[1].a == 5 and cfg.new.key == 1 and cfg.default_scope == 'mmdet'
    assert 'note: --cfg-options sets new.key' in capsys.readouterr().err


@pytest.mark.parametrize('text, match', [
    ('model = dict(', 'is no Python'), ('<html>', 'is no Python'), ('model = dict(a=unknown)', 'NameError.*unknown'),
    ("_base_ = './none.py'\nmodel = dict()", 'cannot be read.*none.py'), ('a = 1', 'has no `model`'),
    ('import sys\nsys.exit(0)', 'ends the program')])
def test_bad_configs_are_named(tmp_path, text, match):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ValueError, match=f'bad.py(.|\n)*{match}|{match}(.|\n)*bad.py'):
        read_config(str(tmp_path / 'bad.py'))


def test_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match='config none.py does not exist'):
        read_config('none.py')


def test_options_that_do_not_suit_are_named(config):
    for key in ('model.parts.7.a', 'model.parts.x.a', 'lr.x'):
        with pytest.raises(UserError, match=f'--cfg-options {key}=1 does not suit the config'):
            read_config(config, {key: 1})


def test_an_empty_dict_would_change_nothing(config):
    for key in ('model', 'model.parts.1'):
        with pytest.raises(UserError, match=f'--cfg-options {key}={{}}.*_delete_'):
            read_config(config, {key: {}})
    assert read_config(config, {'model': dict(_delete_=True, a=1), 'new.key': {}}).model == dict(a=1)


def test_options_that_act_elsewhere(config, tmp_path, monkeypatch):
    (tmp_path / 'module_of_mine.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    read_config(config, {'custom_imports': dict(imports=['module_of_mine'])})
    assert 'module_of_mine' in sys.modules
    with pytest.raises(UserError, match='custom_imports.*none_such'):
        read_config(config, {'custom_imports': dict(imports=['none_such'])})
    with pytest.raises(UserError, match='the option --launcher'):
        read_config(config, {'launcher': 'slurm'})


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_run_options(parser)
    return parser.parse_args(words)


def test_run_options(config):
    cfg = prepare_run(parse(config, '--cfg-options', 'lr=0.5', 'model.size=(1,2)', '--local-rank=1'))
    assert cfg.lr == 0.5 and cfg.model.size == (1, 2) and cfg.launcher == 'none'
    assert cfg.work_dir == os.path.join('work_dirs', 'net')
    assert prepare_run(parse(config, '--work-dir', 'here', '--launcher', 'slurm')).work_dir == 'here'
    assert prepare_run(parse(config, '--cfg-options', 'work_dir=there')).work_dir == 'there'


def test_options_may_be_dicts(config):
    args = parse(config, '--cfg-options', 'a=dict(b=[1,(2,3)], c="x", d=dict(e=None))', 'f={"g": 1.5}', 'h=[1,2]')
    assert args.cfg_options == dict(a=dict(b=[1, (2, 3)], c='x', d=dict(e=None)), f=dict(g=1.5), h=[1, 2])


@each('option, message', [
    ('lr', 'not KEY=VALUE'), ('=3', 'not KEY=VALUE'), ('a..b=3', 'not KEY=VALUE'), ('a=[1,2', 'a bracket is missing'),
    ('a=dict(b=1', 'a bracket is missing'), ('a=dict(b=open("x"))', 'malformed'),
    ('a=dict(b=)', 'invalid syntax|expected argument')])
def test_options_that_are_none_are_named(config, option, message):
    with pytest.raises(UserError, match=f'--cfg-options (.|\n)*{message}'):
        parse(config, '--cfg-options', option)


def test_a_yaml_config_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'net.yaml').write_text('model: {type: A, n: 3}\n')
    assert read_config('net.yaml').model.n == 3
    (tmp_path / 'net.yaml').write_text('model: !!python/object/apply:os.system ["touch ran"]\n')
    with pytest.raises(UserError, match='net.yaml(.|\n)*python/object'):
        read_config('net.yaml')
    assert not os.path.exists('ran')


def test_mistakes_end_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv('MMDET_TRACEBACK', raising=False)
    with pytest.raises(SystemExit) as exit, plain_errors():
        read_checkpoint(tmp_path / 'none.pth')
    assert exit.value.code == 1
    text = capsys.readouterr().err
    assert 'error: checkpoint' in text and 'none.pth does not exist' in text and 'Traceback' not in text


def test_the_traceback_is_there_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_TRACEBACK', '1')
    with pytest.raises(FileNotFoundError), plain_errors():
        read_checkpoint(tmp_path / 'none.pth')


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), plain_errors():
        1 / 0  # noqa: B018
    with pytest.raises(ValueError), plain_errors():
        raise ValueError('raised outside mmdet')
    with pytest.raises(TypeError), plain_errors():
        read_config(None)  # an accident inside mmdet or below it


def test_files_that_cannot_be_opened_are_named(tmp_path):
    try:
        open(tmp_path / 'none.json')
    except OSError as error:
        assert user_mistake(error).endswith('none.json')


class Broken(Dataset):
    def __init__(self, ours):
        self.ours = ours

    def __len__(self):
        return 1

    def __getitem__(self, index):
        if self.ours:
            read_checkpoint('none.pth')
        raise RuntimeError('not ours')


@pytest.mark.parametrize('ours, message', [(True, 'checkpoint none.pth does not exist'), (False, None)])
def test_mistakes_found_in_a_worker_are_recognized(ours, message):
    torch.multiprocessing.set_sharing_strategy('file_system')
    with pytest.raises((FileNotFoundError, RuntimeError)) as caught:
        list(DataLoader(Broken(ours), num_workers=1, multiprocessing_context='fork'))
    assert user_mistake(caught.value) == message


STARTS_AT_ONCE = """
import runpy, sys
for tool in sys.argv[1:]:
    sys.path.insert(0, tool.rpartition('/')[0])
    runpy.run_path(tool, run_name='tool')
    slow = {'torch', 'mmengine', 'cv2', 'matplotlib'} & set(sys.modules)
    assert not slow, (tool, slow)
"""


def quick_tools():
    return [path for path in sorted(TOOLS.rglob('*.py')) if '__main__' in path.read_text() and not
            path.name.startswith(('benchmark_', 'check_configs', 'other_', 'smoke_'))]


def test_help_and_wrong_paths_import_nothing_slow(tmp_path):
    subprocess.run([sys.executable, '-c', STARTS_AT_ONCE, *map(str, quick_tools())], check=True)
    for tool, args, message in (('train', ['none.py'], 'config none.py does not exist'),
                                ('train', ['here.py', '--resume', 'a.pth'], 'checkpoint a.pth does not exist'),
                                ('test', ['her.py', 'a.pth'], 'config her.py does not exist; did you mean here.py?'),
                                ('test', ['here.py', 'a.pth'], 'checkpoint a.pth does not exist'),
                                ('launch', [2, TOOLS / 'train.py', 'her.py'], 'config her.py does not exist; did you'),
                                ('image_demo', ['a.jpg', 'here.py'], 'a.jpg does not exist'),
                                ('eval_results', ['a.json', 'b.json'], 'a.json does not exist')):
        (tmp_path / 'here.py').touch()
        done = subprocess.run([sys.executable, '-X', 'importtime', TOOLS / f'{tool}.py', *map(str, args)], cwd=tmp_path,
                              capture_output=True, text=True)
        assert done.returncode == 1 and f'error: {message}' in done.stderr
        assert not re.search(r'\| +(torch|mmengine)$', done.stderr, re.MULTILINE)


def test_help_explains_every_option_and_names_its_default(subtests, monkeypatch):
    monkeypatch.setenv('COLUMNS', '1000')  # an option a line
    parsers = []
    monkeypatch.setattr(ToolParser, 'parse_args', lambda self: parsers.append(self) or sys.exit())
    for tool in quick_tools():
        if 'ToolParser' not in tool.read_text():
            continue
        with subtests.test(tool.name):
            monkeypatch.syspath_prepend(tool.parent)
            module = runpy.run_path(str(tool))
            with pytest.raises(SystemExit):
                module['main']()
            whole = parsers.pop()
            assert module['__doc__'].strip() in whole.format_help()
            parts = [action.choices.values() for action in whole._actions
                     if isinstance(action, argparse._SubParsersAction)]
            for parser in [whole, *(parts[0] if parts else [])]:
                for action in parser._actions:
                    name = re.escape((action.option_strings or [action.metavar or action.dest])[0])
                    told = re.search(rf'^  {name}(?![\w-]).*(\n {{9,}}.*)*', parser.format_help(), re.MULTILINE)[0]
                    assert action.help and action.help[:20] in told, f'{name} is not explained'
                    assert 'default' in told or action.default in (None, False, [], '==SUPPRESS=='), told


def test_defaults_are_named_once():
    parser = ToolParser('What it does.\n\n    tool.py A')
    parser.add_argument('-s', type=float, default=.5, help='in 100 %%')
    parser.add_argument('-p', nargs='+', default=['a', 'b'], help='of it')
    parser.add_argument('-d', default='cpu', help='cuda; default: where there is one')
    told = parser.format_help()
    assert 'What it does.\n\n    tool.py A\n' in told
    for line in ('-s S in 100 % (default: 0.5)', '-p P [P ...] of it (default: a b)',
                 '-d D cuda; default: where there is one'):
        assert line in ' '.join(told.split())


def test_names_that_the_command_line_knows_are_those_there_are():
    from mmdet.datasets import formats
    tool = runpy.run_path(str(TOOLS / 'convert/dataset.py'))
    assert NORM_NAMES == tuple(NORMS)
    assert [tool[name] for name in ('FORMATS', 'WRITERS', 'VOC_CORNERS')] == [
        tuple(names) for names in (formats.FORMATS, formats.WRITERS, formats.VOC_CORNERS)]
