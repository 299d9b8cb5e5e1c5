"""What the type checker can check: every public function and constructor says its types."""
import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / 'mmdet'


def untyped(node, owner=''):
    """Names of public functions under `node` that lack the type of an argument or of what they return."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.ClassDef) and not part.name.startswith('_'):
            yield from untyped(part, f'{part.name}.')
        elif isinstance(part, ast.FunctionDef) and (part.name.endswith('__') or not part.name.startswith('_')):
            args = [*part.args.posonlyargs, *part.args.args, *part.args.kwonlyargs, part.args.vararg, part.args.kwarg]
            own = owner and not any(getattr(d, 'id', '') == 'staticmethod' for d in part.decorator_list)
            lacking = [arg.arg for arg in args[bool(own):] if arg is not None and arg.annotation is None]
            if part.returns is None and part.name != '__init__':
                lacking.append('return')
            if lacking:
                yield f'{owner}{part.name}: {", ".join(lacking)}'


def test_public_functions_are_typed():
    files = list(ROOT.rglob('*.py'))
    found = [f'{path.relative_to(ROOT)}: {name}' for path in files for name in untyped(ast.parse(path.read_text()))]
    assert len(files) > 60 and found == []


def test_untyped_functions_are_found():
    source = 'class A:\n def __init__(self, a): 0\n def f(self) -> int: 0\n def _g(self, a): 0\ndef h(*, b): 0\n'
    assert list(untyped(ast.parse(source))) == ['A.__init__: a', 'h: b, return']


def test_the_package_says_that_it_is_typed():
    assert (ROOT / 'py.typed').is_file()
    assert "'py.typed'" in (ROOT.parent / 'pyproject.toml').read_text()
