"""Python text of plain values, read without running it."""
import ast
from typing import Any

from mmdet.errors import UserError


def literal(node: Any) -> Any:
    """The value of a parsed expression of literals and dict(...), which is not run. ValueError where it is more."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        pairs = {keyword.arg: literal(keyword.value) for keyword in node.keywords}
        if None in pairs or len(node.args) > 1:
            raise ValueError('dict() of more than key=value')
        return {**(literal(node.args[0]) if node.args else {}), **pairs}
    if isinstance(node, ast.Dict):
        return {literal(key): literal(item) for key, item in zip(node.keys, node.values, strict=True)}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


def literal_config(text: str) -> dict:
    """The config that a checkpoint holds as Python text, read without running it.

    Raises ValueError when the text is more than assignments of literals and dict(...).
    """
    try:
        body: list[Any] = ast.parse(text).body
        return {node.targets[0].id: literal(node.value) for node in body}
    except (AttributeError, SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f'the config in the checkpoint is no list of plain values ({error}); '
                        'give the config file instead') from None
