"""A training of seconds, of which the kinds of configs, checkpoints and command lines change one thing."""
import atexit
import functools
import importlib
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def tiny() -> Path:
    """A config in a folder of its own, with its data beside it."""
    from mmdet.datasets.shapes import make_shapes
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)  # the cases' processes end without it
    sys.path[:0] = [str(ROOT / 'tests/test_tools'), str(ROOT / 'tests')]
    text = importlib.import_module('conftest').TINY
    make_shapes(str(folder / 'shapes'), num_train=16, num_val=8)
    path = folder / 'tiny.py'
    path.write_text(text.format(base=str(ROOT / 'configs/demo/mask-rcnn_demo_256.py'), root=f'{folder}/shapes/'))
    return path


def tool(name: str, *args: object) -> bool:
    """Run a program of tools as from the command line. True: it ended well."""
    sys.argv = [str(ROOT / 'tools' / name), *map(str, args)]
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise
    return True


def first_step(*args: object) -> bool:
    """A training that ends well behind its first step."""
    from mmdet.engine.loops import EpochBasedTrainLoop
    step = EpochBasedTrainLoop.run_iter

    def last_step(loop, *batch):
        step(loop, *batch)
        sys.exit(0)
    EpochBasedTrainLoop.run_iter = last_step
    return tool('train.py', *args)


def refused(run):
    """The case of `run`, which must not end well."""
    return lambda: not run()
