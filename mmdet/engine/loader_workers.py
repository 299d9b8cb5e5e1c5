"""What ends a loader's worker: it must not leave the main process waiting, and the cause shall be named."""
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import queues
from typing import Any

from torch.utils.data import DataLoader

from mmdet.errors import UserError

SHARED_MEMORY_FULL = 74  # exit status of a worker
SECONDS = 5  # from one look at the main process to the next


def prepare_workers(loader: DataLoader) -> None:
    """Let the workers of `loader` end where they cannot hand over a batch, and go on where a signal asks to stop."""
    if getattr(loader.worker_init_fn, 'func', None) is not _start:
        loader.worker_init_fn = partial(_start, loader.worker_init_fn)


def _start(init: Callable[[int], None] | None, worker: int) -> None:
    # The thread that hands over would print the error and drop the batch, for which the main process waits for ever.
    queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]
    # Slurm and terminals ask all processes of a run to stop, but the main process needs its workers for one more step.
    for name in ('SIGINT', 'SIGUSR1', 'SIGHUP'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, 'sigtimedwait'):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()
    if init is not None:
        init(worker)


def _obey(parent: int) -> None:
    """End when the main process terminates its workers, or is gone: one that hands over a batch would wait for ever."""
    while os.getppid() == parent:
        told = signal.sigtimedwait([signal.SIGTERM], SECONDS)
        if told is not None and told.si_pid == parent:
            break
    os._exit(0)


def _end(error: BaseException, batch: Any) -> None:
    print(f'A loader worker could not hand over a batch: {error}', file=sys.stderr, flush=True)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC or 'No space left' in str(error)
    os._exit(SHARED_MEMORY_FULL if full else 1)


def name_worker_failure(error: RuntimeError) -> None:
    """Raise UserError with cause and cure if `error` is PyTorch's about a worker that ended."""
    text = str(error)
    found = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed|exited unexpectedly)', text)
    if not found:
        return
    causes = ' '.join((text, str(error.__cause__), str(error.__context__)))
    if 'Bus error' in causes or f'exit code {SHARED_MEMORY_FULL}' in causes:
        raise UserError(f'{_shared_memory()}. A larger one (docker run --shm-size=8g or --ipc=host), fewer workers '
                        '(num_workers) or smaller batches cure it') from error
    how = re.search(r'killed by signal: (\w+)|exit code (-?\d+)', causes)
    told = f' ({how[0]})' if how else ''
    raise UserError(f'a loader worker, process {found[1]}, ended{told}. Where it was killed, the memory of the machine '
                    'was probably full: fewer workers (num_workers) or smaller images need less. Where it crashed, '
                    'num_workers=0 shows where') from error


def _shared_memory() -> str:
    try:
        found = os.statvfs('/dev/shm')
    except (OSError, AttributeError):
        return 'the loader workers have too little shared memory'
    return (f'/dev/shm, through which loader workers hand over batches, is full: it has '
            f'{found.f_frsize * found.f_blocks:,} bytes')
