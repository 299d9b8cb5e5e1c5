"""Small faults of a module, and the import of a module with one of them."""
import ast
import copy
import importlib.abc
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
         ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult}
SYMMETRIC = {'min', 'max', 'minimum', 'maximum', 'equal', 'array_equal'}  # f(a, b) is f(b, a)


def changed(node, **fields):
    new = copy.copy(node)
    vars(new).update(fields)
    return new


def mutants_of(node):
    """What may stand in place of `node`, faulty."""
    match node:
        case ast.Compare(ops=[op, *rest]) if type(op) in OTHER:
            yield changed(node, ops=[OTHER[type(op)](), *rest])
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in OTHER:
            yield changed(node, op=OTHER[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.If() | ast.IfExp() | ast.While():
            yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool(value)):
            yield changed(node, value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield changed(node, value=value + 1)
        case ast.Call(args=[first, second, *rest]) if not any(isinstance(arg, ast.Starred) for arg in node.args):
            if vars(node.func).get('attr', vars(node.func).get('id')) not in SYMMETRIC:
                yield changed(node, args=[second, first, *rest])
    match node:
        case ast.Raise() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def sites(tree):
    """Nodes, a mutant of each, and what it stands in, the outermost first. Messages and annotations are left alone."""
    pending = [(tree, ())]
    while pending:
        node, parents = pending.pop()
        yield from ((node, mutant, parents) for mutant in mutants_of(node))
        skipped = {'annotation', 'returns', *(vars(node) if isinstance(node, ast.Raise) else ())}
        pending += [(child, (*parents, node)) for field, value in ast.iter_fields(node) if field not in skipped
                    for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]


class Mutant(ast.NodeTransformer, importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in its place when its module is imported."""

    def __init__(self, path, tree, node, mutant, parents):
        self.path, self.tree, self.node, self.mutant, self.parents = path, tree, node, mutant, parents
        self.name = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')

    def visit(self, node):
        return ast.copy_location(self.mutant, node) if node is self.node else super().generic_visit(node)

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(ast.fix_missing_locations(self.visit(self.tree)), self.path, 'exec'), vars(module))

    def __str__(self):
        old, new = (' '.join(ast.unparse(node).split()) for node in (self.node, self.mutant))
        return f'{self.path.relative_to(ROOT)}:{self.node.lineno}  {old[:70]}  ->  {new[:70]}'


def mutants_of_files(patterns):
    paths = dict.fromkeys(path for pattern in patterns for path in sorted(ROOT.glob(pattern)))
    for path in paths:
        tree = ast.parse(path.read_text())
        yield from (Mutant(path, tree, *site) for site in sites(tree))
