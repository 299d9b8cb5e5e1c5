import ctypes
import os
import subprocess
import sys

import pytest

from mmdet.engine import kept_memory

PAGES = """
import resource
import torch
from mmdet.engine.kept_memory import keep_freed_memory
keep_freed_memory()
for _ in range(12):  # until the pieces fit
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(**environment):
    """How many pages of memory the last tensor gets from the system."""
    kept = {name: value for name, value in os.environ.items() if name not in kept_memory.NAMES}
    done = subprocess.run([sys.executable, '-c', PAGES], env={**kept, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != 'linux' or not hasattr(ctypes.CDLL(None), 'mallopt'), reason='glibc alone is told')
def test_the_next_tensor_takes_the_same_memory():
    whole = (1 << 26) // os.sysconf('SC_PAGE_SIZE')
    environment = dict(CUDA_VISIBLE_DEVICES='-1')
    assert pages(**environment) < whole / 50
    assert pages(**environment, MALLOC_MMAP_THRESHOLD_='1000000') > whole / 2  # the environment's word counts
