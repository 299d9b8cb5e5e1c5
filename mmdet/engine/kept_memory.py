"""Memory that a training on CPUs has freed stays with the process: to get it from the system anew takes time."""
import ctypes
import os
import sys

from .distributed import device_type

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NAMES = 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_', 'MALLOC_MMAP_MAX_', 'GLIBC_TUNABLES'


def keep_freed_memory() -> None:
    """Tell glibc to give nothing back until the process ends, unless the environment has told it something else.

    By default it returns every large tensor at once, and each page of the next one is handed out and zeroed anew.
    """
    if device_type() != 'cpu' or sys.platform != 'linux' or any(name in os.environ for name in NAMES):
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
