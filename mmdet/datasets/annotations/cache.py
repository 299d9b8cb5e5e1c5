"""Tables kept on the disk, so that a large annotation file is read once on a machine."""
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mmengine.logging import print_log

from .table import AnnotationTable
from .table_file import FORMAT, load_table, save_table

FOLDER = 'MMDET_CACHE'  # environment variable: where tables are kept, or 'off'
SMALLEST = 4 << 20      # bytes: smaller annotation files are read anew
LOCK_SECONDS = 600      # a process waits so long for another one that builds the same table
UNSETTLED = 2           # seconds in which a file may change again and keep its time of change


def cached_table(path: str, build: Callable[[], AnnotationTable]) -> AnnotationTable:
    """The table of the local file `path`: mapped from the cache, or built and then kept there for the next process.

    A file whose inode, size or time of change is another is another file. No fault of the cache stops the caller.
    """
    kept = _place(path)
    if kept is None:
        return build()
    with _lock(kept):
        table = load_table(kept)
        if table is None:
            table = build()
            if _place(path) == kept and _keep(table, kept):  # it was not changed meanwhile
                table = load_table(kept, check=False) or table
    return table


def _place(path: str) -> Path | None:
    """Where the table of an annotation file is kept; None where it should not be or the folder cannot be made."""
    source = os.path.realpath(path)
    stamp = os.stat(source)
    changed = max(stamp.st_mtime, stamp.st_ctime)
    if os.environ.get(FOLDER) == 'off' or stamp.st_size < SMALLEST or time.time() - changed < UNSETTLED:
        return None
    try:
        home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
        folder = Path(os.environ.get(FOLDER) or Path(home, 'mmdet'))
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        _tell(error)
        return None
    # A home may be shared by machines whose files differ.
    return folder / '-'.join(hashlib.blake2b(repr(part).encode(), digest_size=10).hexdigest() for part in (
        (socket.gethostname(), source), (FORMAT, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns, stamp.st_ctime_ns)))


def _keep(table: AnnotationTable, kept: Path) -> bool:
    """Write a table in one move, and remove those of earlier states of its annotation file."""
    unfinished = kept.with_name(f'{kept.name}.{os.getpid()}')
    try:
        save_table(table, unfinished)
        unfinished.replace(kept)
        for other in kept.parent.glob(f'{_source(kept)}-*'):
            if other != kept:
                other.unlink(missing_ok=True)
    except OSError as error:
        _tell(error)
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return kept.exists()


@contextlib.contextmanager
def _lock(kept: Path) -> Iterator[None]:
    """Let one process at a time build a table; one that waits too long, or cannot lock, goes on."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):  # ImportError: Windows, where each process builds its own
            import fcntl
            file = stack.enter_context(open(kept.with_name(f'{_source(kept)}.lock'), 'w'))
            for _ in range(LOCK_SECONDS * 20):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.05)
        yield


def _source(kept: Path) -> str:
    return kept.name.partition('-')[0]


def _tell(error: Exception) -> None:
    print_log(f'The annotations cannot be kept for other processes ({error}), so each reads them anew. The environment '
              f"variable {FOLDER} names a folder for them, or says 'off'.", 'current')
