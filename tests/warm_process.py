"""Scripts in processes of their own, forked from one that has imported the libraries: a start of Python takes seconds.

mmdet itself is imported anew by each. torch's compiler is put off, as in a training.
"""
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from pathlib import Path
from unittest import mock

LIBRARIES = ('torch', 'torch.testing', 'mmengine.runner', 'mmengine.hooks', 'mmengine.visualization', 'mmcv.transforms',
             'cv2', 'pycocotools.cocoeval', 'matplotlib.figure', 'matplotlib.font_manager')
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['warm_libraries'])


def start(process):
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # a server does not take sys.path over
        CONTEXT.Process.start(process)


class Script(CONTEXT.Process):
    """As `python SCRIPT ARGS...` in the folder `cwd` with the environment's variables `env`, started at once."""

    def __init__(self, script, *args, cwd='.', **env):
        super().__init__()
        self.script, self.args, self.cwd, self.env = str(script), [str(arg) for arg in args], str(cwd), env
        self.printed = [tempfile.mkstemp()[1] for _ in range(2)]
        start(self)

    def run(self):
        for stream, path in enumerate(self.printed, 1):
            os.dup2(os.open(path, os.O_WRONLY), stream)
        os.environ.update(self.env)
        sys.argv, sys.path = [self.script, *self.args], [os.path.dirname(self.script), *sys.path]
        os.chdir(self.cwd)
        runpy.run_path(self.script, run_name='__main__')

    def told(self, timeout=300):
        """What it printed on stdout and on stderr, when it has ended."""
        self.join(timeout)
        self.kill()
        return [Path(path).read_text() for path in self.printed]


def run_two(script, *args, names=('RANK', 'WORLD_SIZE', 'LOCAL_RANK')):
    """What each of two processes prints that a launcher has started; it tells rank, size and local rank by `names`."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = str(sock.getsockname()[1])
    started = [Script(script, *args, **dict(zip(names, (str(rank), '2', str(rank)), strict=True)),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=port, CUDA_VISIBLE_DEVICES='-1') for rank in range(2)]
    told = [process.told() for process in started]
    assert [process.exitcode for process in started] == [0, 0], told
    return [out for out, _ in told]
