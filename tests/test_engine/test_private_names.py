import ast
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

from mmdet.engine import private_names
from mmdet.engine.private_names import PRIVATE_NAMES, check, names_in
from mmdet.utils import register_all_modules

ROOT = Path(__file__).parents[2] / 'mmdet'


def test_this_mmengine_has_them_all():
    check()


def test_a_missing_one_is_named(monkeypatch):
    monkeypatch.setattr(private_names, 'PRIVATE_NAMES', {'mmengine.runner:Runner': ('_resume', '_gone')})
    with pytest.raises(ImportError, match='mmengine.runner.Runner has no _gone.*pip install'):
        check()


def test_names_that_are_defined_read_and_set():
    class Parent:
        @property
        def _defined(self):
            return [self._read for _ in range(2)]

    class Child(Parent):
        @staticmethod
        def set(other):
            other._set = 1
    assert {'_defined', '_read', '_set'} <= names_in(Child) and '_other' not in names_in(Child)


def private_names_of(path):
    """Private attributes that a file uses, and private methods and attributes of its classes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ClassDef):
            yield from (part.name for part in node.body if isinstance(part, ast.FunctionDef))


def test_the_list_is_whole():
    """A private name of ours that a class of mmengine knows, one of those listed or a parent of ours, is listed."""
    register_all_modules()
    parents = {parent for module in list(sys.modules.values()) if getattr(module, '__name__', '').startswith('mmdet')
               for cls in vars(module).values() if inspect.isclass(cls) for parent in cls.__mro__
               if parent.__module__.startswith(('mmengine.', 'mmcv.'))}
    parents |= {pkgutil.resolve_name(path) for path in PRIVATE_NAMES}
    theirs = {name for cls in parents for name in names_in(cls) if name.startswith('_') and not name.startswith('__')}
    torchs = names_in(__import__('torch').nn.Module)
    ours = {name for path in ROOT.rglob('*.py') for name in private_names_of(path)}
    listed = {name for names in PRIVATE_NAMES.values() for name in names}
    assert (ours & theirs) - torchs - listed == set()
    assert listed - ours <= {'_dataset_meta', '_params_init_info'}  # read under these names as text
