"""Mutation testing: how many small faults, put into the sources one by one, do the tests find?

    python tests/mutation.py --mutants 150 --seed 0

Each mutant is one change of one expression or statement. It lives in a process forked from this one, which has
imported the libraries already; only mmdet is imported anew, the mutant in place of its source. There the tests of the
mutated module run until one fails. A test that starts Python anew sees the true sources and finds nothing.
"""
import argparse
import ast
import contextlib
import copy
import gc
import importlib
import importlib.abc
import importlib.util
import os
import random
import resource
import signal
import sys
from pathlib import Path

import pytest
from warm_process import LIBRARIES

ROOT = Path(__file__).parents[1]
OPS, LAYERS = 'tests/test_ops', 'tests/test_models/test_layers'
# Modules, and the tests that concern them, the nearest first. The first pattern that fits counts.
TESTS = {
    'mmdet/ops/__init__.py': [],
    'mmdet/ops/cbn_statistics.py': [f'{OPS}/test_cbn.py', f'{OPS}/test_checks.py', f'{LAYERS}/test_cbn.py'],
    'mmdet/ops/extension.py': [f'{OPS}/test_dispatch.py'],
    'mmdet/ops/*mask*.py': [f'{OPS}/test_masks.py', f'{OPS}/test_checks.py'],
    'mmdet/ops/conv*.py': [f'{LAYERS}/test_conv.py', f'{OPS}/test_conv.py', f'{OPS}/test_checks.py',
                           f'{LAYERS}/test_frozen_bn.py', 'tests/test_models/test_roi_heads.py'],
    'mmdet/ops/rows.py': ['tests/test_models/test_roi_heads.py'],
    'mmdet/ops/mean_variance.py': [f'{LAYERS}/test_batch_stats.py', f'{OPS}/test_checks.py'],
    'mmdet/ops/normalize.py': [f'{LAYERS}/test_batch_stats.py', f'{LAYERS}/test_sync_bn.py', f'{LAYERS}/test_cbn.py'],
    'mmdet/ops/variance_slope.py': [f'{LAYERS}/test_patch_stats.py', f'{LAYERS}/test_cbn.py'],
    'mmdet/ops/memory_format.py': [f'{LAYERS}/test_cbn.py', f'{OPS}/test_roi_align.py'],
    'mmdet/ops/*.py': [f'{OPS}/test_*{{stem}}*.py', f'{OPS}/test_checks.py'],
    'mmdet/models/task_modules/*.py': ['tests/test_models/test_task_modules.py', 'tests/test_models/test_legacy.py',
                                       'tests/test_models/test_two_stage.py'],
    'mmdet/models/layers/cbn.py': [f'{LAYERS}/test_cbn.py', 'tests/test_engine/test_cbn_hook.py'],
    'mmdet/models/layers/*_stats.py': [f'{LAYERS}/test_{{stem}}.py', f'{LAYERS}/test_cbn.py'],
    'mmdet/models/layers/sync_bn.py': [f'{LAYERS}/test_sync_bn.py', f'{LAYERS}/test_norm.py'],
    'mmdet/models/layers/*norm*.py': [f'{LAYERS}/test_norm.py', f'{LAYERS}/test_frozen_bn.py', f'{LAYERS}/test_cbn.py',
                                      'tests/test_models/test_resnet.py'],
    'mmdet/models/layers/*.py': [f'{LAYERS}/test_conv*.py', f'{LAYERS}/test_frozen_bn.py', f'{LAYERS}/test_norm.py'],
    'mmdet/engine/loops.py': ['tests/test_engine/test_runner.py'],
    'mmdet/engine/seeded_batches.py': ['tests/test_engine/test_resume.py', 'tests/test_engine/test_runner.py'],
    'mmdet/engine/training_state.py': ['tests/test_engine/test_resume.py', 'tests/test_engine/test_runner.py'],
    'mmdet/datasets/annotations/*.py': ['tests/test_datasets/test_annotations', 'tests/test_datasets/test_coco.py'],
    'mmdet/datasets/coco*.py': ['tests/test_datasets/test_coco.py', 'tests/test_datasets/test_annotations'],
    'mmdet/datasets/learnable.py': ['tests/test_datasets/test_annotations', 'tests/test_datasets/test_coco.py'],
    'mmdet/structures/mask/rle.py': ['tests/test_structures/test_mask/test_rle.py', 'tests/test_evaluation'],
    'mmdet/evaluation/*.py': ['tests/test_evaluation'],
}
# Without the tests that start processes which would import the true source.
FORKED = ' and '.join(f'not {name}' for name in ('workers', 'killed', 'two_processes_train', 'two_processes_resume',
                                                 'two_processes_of'))
OTHER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
         ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult}


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
            yield changed(node, args=[second, first, *rest])
    match node:
        case ast.Raise() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def sites(tree):
    """All pairs of a node and a mutant of it; messages of errors and annotations are left alone."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield from ((node, mutant) for mutant in mutants_of(node))
        skipped = {'annotation', 'returns', *(vars(node) if isinstance(node, ast.Raise) else ())}
        pending += [child for field, value in ast.iter_fields(node) if field not in skipped
                    for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]


class Mutator(ast.NodeTransformer, importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Puts one mutant in its place when its module is imported."""

    def __init__(self, path, tree, node, mutant):
        self.path, self.tree, self.node, self.mutant = path, tree, node, mutant
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


def all_mutants():
    """Pairs of a Mutator and the files of its tests."""
    done = set()
    for pattern, tests in TESTS.items():
        for path in sorted(set(ROOT.glob(pattern)) - done):
            done.add(path)
            files = [file for test in tests for file in sorted(ROOT.glob(test.format(stem=path.stem)))]
            tree = ast.parse(path.read_text())
            yield from ((Mutator(path, tree, *site), tuple(map(str, files))) for site in sites(tree) if files)


def survives(files, mutator=None, limit=300):
    """Whether the tests pass, and the seconds of processor time they took. Past this limit they have failed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        signal.alarm(20 * limit)  # for a mutant that waits
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        if mutator:
            sys.meta_path.insert(0, mutator)
        os._exit(pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-k', FORKED, *files]))
    _, status, usage = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a mutant started and left
    return status == 0, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mutants', type=int, default=150)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='of these mutants, those in files whose names contain this')
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in (*LIBRARIES, 'torchvision.ops'):
        importlib.import_module(name)
    sys.modules['torch'].set_num_threads(1)
    gc.freeze()  # what is imported by now need not be looked through by each child
    chosen = random.Random(args.seed).sample(list(all_mutants()), args.mutants)
    chosen = [pair for pair in chosen if args.only in str(pair[0].path)]
    limits, survivors = {}, []
    for number, (mutator, files) in enumerate(sorted(chosen, key=lambda pair: str(pair[0])), 1):
        if files not in limits:
            passes, seconds = survives(files)
            if not passes:
                sys.exit(f'these fail without a mutant: {" ".join(files)}')
            limits[files] = int(3 * seconds) + 10
        survived, seconds = survives(files, mutator, limits[files])
        survivors += [mutator] * survived
        print(f'{number:4} {"SURVIVED" if survived else "killed":8} {seconds:6.1f} s  {mutator}', flush=True)
    gc.unfreeze()  # else libraries report what they never freed
    print(f'killed {len(chosen) - len(survivors)} of {len(chosen)}; the survivors:', *survivors, sep='\n  ')


if __name__ == '__main__':
    main()
