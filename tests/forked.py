"""Work in a process forked from this one, which has imported the libraries already; mmdet is imported anew there."""
import contextlib
import importlib
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from warm_process import LIBRARIES

MEMORY = 8 << 30  # bytes


def import_libraries():
    for name in (*LIBRARIES, 'torchvision.ops'):
        importlib.import_module(name)
    sys.modules['torch'].set_num_threads(1)


def forked(work, limit=1000):
    """What `work` returns as a status, its seconds of processor time (past this limit it ends) and what it prints."""
    printed, path = tempfile.mkstemp()
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        signal.alarm(20 * limit)  # for one that waits
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        status = work()
        sys.stdout.flush()
        os._exit(status)
    _, status, usage = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started and left
    os.close(printed)
    told = Path(path).read_text(errors='replace')
    os.remove(path)
    return status, usage.ru_utime + usage.ru_stime, told
