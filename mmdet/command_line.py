"""What the tools share: their options, and errors in plain words.

A tool that is asked for help, or wrongly, answers at once: neither this file nor the top of a tool imports torch.
"""
from __future__ import annotations

import ast
import contextlib
import os
import shlex
import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdet.errors import UserError
from mmdet.literals import literal
from mmdet.named_files import existing_checkpoint, existing_config, existing_inputs

if TYPE_CHECKING:
    from mmengine.config import Config

NORM_NAMES = ('BN', 'FrozenBN', 'SyncBN', 'GN', 'CBN')
TRACEBACK = 'MMDET_TRACEBACK'  # set it to see the traceback of every error


class _Help(RawDescriptionHelpFormatter):
    """The description as it stands; each option with its default, unless its text tells it."""

    def _get_help_string(self, action: Action) -> str:
        text, default = action.help or '', action.default
        if default in (None, SUPPRESS, '', [], float('inf')) or isinstance(default, bool) or 'default' in text:
            return text
        values = default if isinstance(default, list | tuple) else [default]
        told = ' '.join(f'{value:g}' if isinstance(value, float) else shlex.quote(str(value)) for value in values)
        return f'{text} (default: {told.replace("%", "%%")})'


class ToolParser(ArgumentParser):
    """Its --help begins with the docstring of the tool."""

    def __init__(self, description: str | None = None, **options: Any) -> None:
        super().__init__(description=description, formatter_class=_Help, **options)


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options of mmdetection's train.py and test.py that say how to run, whatever the config."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/CONFIG_NAME')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what started the processes; dist_train.sh and slurm_train.sh set it')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by older launchers; ignored')


class NamedFile(Action):
    """The value, or the list of them, as it stands, once `check` has found its file."""

    check: Callable[[str], object]

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        for value in values if isinstance(values, list) else [values]:
            type(self).check(value)
        setattr(namespace, self.dest, values)


class ConfigFile(NamedFile):
    check = staticmethod(existing_config)


class InputFiles(NamedFile):
    check = staticmethod(existing_inputs)


class CheckpointFile(NamedFile):
    """A file, a URL or a name such as torchvision://resnet50."""

    @staticmethod
    def check(source: str) -> None:
        if '://' not in source:
            existing_checkpoint(source)


class DetectorFile(NamedFile):
    """A config, or a .pth that holds its own."""

    @staticmethod
    def check(path: str) -> None:
        CheckpointFile.check(path) if path.endswith('.pth') else existing_config(path)


class ConfigOptions(Action):
    """KEY=VALUE pairs as mmengine reads them, and values that are dict(...) or {...}, of literals alone."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        from mmengine.config import DictAction
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, text = pair.partition('=')
            if not equals or not key or not all(key.split('.')):
                raise UserError(f'--cfg-options {pair}: this is not KEY=VALUE, such as model.backbone.depth=18')
            if any(text.count(left) != text.count(right) for left, right in ('()', '[]', '{}')):
                raise UserError(f'--cfg-options {pair}: a bracket is missing. Does the shell take it? '
                                f'Then put it in quotes: "{key}=..."')
            try:
                if text.startswith(('dict(', '{')):
                    options[key] = literal(ast.parse(text, mode='eval').body)
                else:
                    options[key] = DictAction._parse_iterable(text)
            except (SyntaxError, ValueError, TypeError, AssertionError, RecursionError) as error:
                raise UserError(f'--cfg-options {pair}: {error}. Values are numbers, words, lists and dict(...) of '
                                'these') from None
        setattr(namespace, self.dest, options)


def add_config(parser: ArgumentParser) -> None:
    """Add the config that a tool is given."""
    parser.add_argument('config', action=ConfigFile, help='config file')


def add_norm_option(parser: ArgumentParser, text: str) -> None:
    """Add --norm, which mmdet.engine.norm_option applies."""
    parser.add_argument('--norm', choices=NORM_NAMES, help=text)


def add_config_options(parser: ArgumentParser) -> None:
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override keys of the config, e.g. optim_wrapper.optimizer.lr=0.01 '
                             'train_dataloader.batch_size=4 model.backbone.out_indices="(0,1,2,3)"')


def prepare_run(args: Namespace) -> Config:
    """The config that the options of add_run_options ask for, its work_dir and launcher set."""
    from mmdet.engine.config import read_config
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs', Path(args.config).stem))
    return cfg


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with one clear message, without a traceback, when the error is a mistake of the user.

    Those are UserError, of this process or of a loader's worker, and files that cannot be opened. Any other error shows
    its traceback, and so do all with MMDET_TRACEBACK=1. After Ctrl-C the exit status is 130.
    """
    try:
        yield
    except KeyboardInterrupt:  # a training has said how to go on
        sys.exit(130)
    except Exception as error:
        message = user_mistake(error)
        if message is None or os.environ.get(TRACEBACK):
            raise
        process = f' (process {os.environ["RANK"]})' if int(os.environ.get('WORLD_SIZE', 1)) > 1 else ''
        print(f'\nerror{process}: {message}\n({TRACEBACK}=1 shows where in the code)', file=sys.stderr, flush=True)
        sys.exit(1)


def user_mistake(error: Exception) -> str | None:
    """What to tell the user, or None when the error is a bug."""
    if isinstance(error, UserError):
        # A loader's worker hands over its whole traceback as text; the message is what follows its last line.
        return str(error).rpartition(f'{type(error).__module__}.{type(error).__qualname__}: ')[2].strip()
    if isinstance(error, OSError) and error.filename:
        return f'{error.strerror}: {error.filename}'
    return None
