"""Who serves is chosen at import, so each choice is watched in a fresh process."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmdet import ops

ROOT = Path(__file__).parents[2]
REPORT = 'from mmdet import ops; print(ops.backend())'


def run(code, **environment):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)


HIDE_THE_EXTENSION = """
import pathlib
glob = pathlib.Path.glob
pathlib.Path.glob = lambda self, pattern: [] if pattern.startswith('_C') else glob(self, pattern)
"""


def test_torchvision_by_force():
    done = run(REPORT, MMDET_OPS='torchvision')
    assert done.stdout.strip() == 'torchvision' and 'serves instead' not in done.stderr


def test_extension_by_force():
    if ops.backend() != 'mmdet':
        pytest.skip('the extension was not built')
    assert run(REPORT, MMDET_OPS='mmdet').stdout.strip() == 'mmdet'


def test_missing_extension_is_said_once():
    done = run(HIDE_THE_EXTENSION + REPORT + '\nfrom mmdet.ops import nms', MMDET_OPS='')
    assert done.stdout.strip() == 'torchvision'
    assert done.stderr.count('torchvision.ops serves instead of the compiled extension') == 1


def test_missing_extension_by_force_is_an_error():
    done = run(HIDE_THE_EXTENSION + REPORT, MMDET_OPS='mmdet')
    assert done.returncode != 0 and 'MMDET_OPS=mmdet, but the extension does not load' in done.stderr


def test_unknown_choice_is_an_error():
    done = run(REPORT, MMDET_OPS='mmcv')
    assert done.returncode != 0 and "MMDET_OPS='mmcv': must be mmdet, torchvision or unset" in done.stderr
