"""Who may import whom, read from the sources."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1] / 'mmdet'
FOR_ALL = ('errors', 'import_paths', 'literals', 'named_files', 'progress')
MAY_IMPORT = {  # and all may import FOR_ALL
    'registry': set(),
    'ops': set(),
    'structures': {'ops'},
    'models': {'ops', 'structures', 'registry'},
    'datasets': {'structures', 'registry', 'checkpoints'},  # which reads pickles safely
    'evaluation': {'structures', 'registry', 'datasets', 'report', 'checkpoints'},
    'report': {'visualization'},
    'visualization': {'structures', 'registry'},
    'engine': {'registry', 'structures', 'checkpoints', 'datasets', 'report'},
    'checkpoints': set(),
    'export': {'ops', 'structures', 'models'},
    'utils': set(),
    'apis': {'registry', 'ops', 'structures', 'models', 'datasets', 'evaluation', 'visualization', 'engine',
             'checkpoints', 'utils', 'report'},
}
# Inside models a file imports only from ranks below its own.
RANKS = [('layers', 'losses', 'task_modules', 'data_preprocessor'), ('backbones', 'necks'),
         ('dense_heads', 'roi_heads'), ('detectors',)]
GRAB_BAGS = {'utils.py', 'misc.py', 'helpers.py', 'common.py'}


def imports(path):
    """Dotted names of the modules that `path` imports, its own package's resolved."""
    package = ['mmdet', *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            yield from (f'{module}.{alias.name}' for alias in node.names)


FILES = sorted(path for path in ROOT.rglob('*.py') if path.parent != ROOT)


def test_imports():
    for path in FILES:
        room = path.relative_to(ROOT).parts[0]
        for name in imports(path):
            parts = name.split('.')
            if parts[0] != 'mmdet' or len(parts) < 2 or parts[1] in (room, *FOR_ALL):
                continue
            if (ROOT / parts[1]).exists() or (ROOT / f'{parts[1]}.py').exists():
                assert parts[1] in MAY_IMPORT[room], f'{path} imports {name}'


def test_ranks_inside_models():
    def rank(part):
        return next((i for i, names in enumerate(RANKS) if part in names), None)
    for path in (ROOT / 'models').rglob('*.py'):
        room = path.relative_to(ROOT / 'models').parts[0].removesuffix('.py')
        own = rank(room)
        for name in imports(path):
            parts = name.split('.')
            if parts[:2] == ['mmdet', 'models'] and len(parts) > 2 and own is not None:
                other = rank(parts[2])
                assert (other is None or parts[2] == room or other < own
                        or (own == 0 and other == 0)), f'{path} imports {name}'


def test_well_named():
    assert not [path for path in FILES if path.name in GRAB_BAGS]


def test_ops_know_torch_alone():
    for path in (ROOT / 'ops').rglob('*.py'):
        assert not any(name.startswith('mmengine') or name.startswith('mmcv') for name in imports(path)), path


def test_models_know_nothing_of_the_runner():
    for path in (ROOT / 'models').rglob('*.py'):
        assert not any(name.startswith('mmengine.runner') for name in imports(path)), path


def test_models_do_not_ask_for_the_device():
    """Which kernel serves is the operators' to decide; autocast alone is told the type of device."""
    asks = re.compile(r'is_cuda|(?<!autocast\(x\.)(?<!autocast\(y\.)device\.type|torch\.ops|ops\.extension')
    found = [f'{path.name}:{number}: {line.strip()}' for path in sorted((ROOT / 'models').rglob('*.py'))
             for number, line in enumerate(path.read_text().splitlines(), 1) if asks.search(line)]
    assert not found
