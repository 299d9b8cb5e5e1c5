"""A config as Python text, as logs, checkpoints and work_dirs hold it."""
import keyword
from typing import Any

WIDTH = 120


def config_text(cfg: dict) -> str:
    """Assignments, a key each, sorted, `type` first; reading them gives `cfg` again where its values are plain."""
    return ''.join(f'{key} = {_text(cfg[key], len(key) + 3)}\n' for key in sorted(cfg, key=_order))


def _order(key: Any) -> tuple[bool, str]:
    return key != 'type', str(key)


def _text(value: Any, column: int, indent: int = 0) -> str:
    """`value` in one line if what begins at `column` ends before WIDTH, else an item a line."""
    if isinstance(value, dict):
        named = all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)
        left, right = ('dict(', ')') if named else ('{', '}')
        items = [(f'{key}=' if named else f'{key!r}: ', value[key]) for key in sorted(value, key=_order)]
    elif isinstance(value, (list, tuple)):
        left, right = '[]' if isinstance(value, list) else '()'
        items = [('', item) for item in value]
    else:
        return repr(value)
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    line = left + ', '.join(name + _text(item, 0) for name, item in items) + comma + right
    if column + len(line) < WIDTH:
        return line
    inner = indent + 4
    rows = ''.join(f'{" " * inner}{name}{_text(item, inner + len(name), inner)},\n' for name, item in items)
    return f'{left}\n{rows}{" " * indent}{right}'
