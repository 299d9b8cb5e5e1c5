"""Waits for the GPU as errors."""
from contextlib import contextmanager

import torch


@contextmanager
def no_waits():
    """What runs inside fails where the host waits for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')
