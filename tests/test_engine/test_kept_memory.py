import ctypes
import os
import sys

import pytest
from warm_process import Script

PAGES = """
import os
import resource
import sys
import torch
from mmdet.engine.kept_memory import NAMES, keep_freed_memory
for name in NAMES:
    os.environ.pop(name, None)
os.environ.update(dict.fromkeys(sys.argv[1:], '1000000'))
keep_freed_memory()
for _ in range(12):  # until the pieces fit
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != 'linux' or not hasattr(ctypes.CDLL(None), 'mallopt'), reason='glibc alone is told')
def test_the_next_tensor_takes_the_same_memory(tmp_path):
    whole = (1 << 26) // os.sysconf('SC_PAGE_SIZE')
    script = tmp_path / 'pages.py'
    script.write_text(PAGES)

    def pages(*names):
        """How many pages of memory the last tensor gets from the system, with these variables set."""
        process = Script(script, *names, CUDA_VISIBLE_DEVICES='-1')
        out, err = process.told()
        assert process.exitcode == 0, err
        return int(out)
    assert pages() < whole / 50
    assert pages('MALLOC_MMAP_THRESHOLD_') > whole / 2  # the environment's word counts
