"""Names the process or worker whose end is the cause when a run fails."""
import contextlib
import re
import threading
import time
from collections.abc import Iterator

from mmdet.errors import UserError

from .loader_workers import name_worker_failure
from .peers import Peers, current_peers

# What gloo, NCCL and PyTorch's store say when another process is gone or silent.
CONNECTION = re.compile(r'gloo|NCCL|Connection (closed|reset) by peer|Timed out waiting|socket ?timeout|broken pipe',
                        re.I)
LOST = 'lost'


@contextlib.contextmanager
def named_failures(patience: float = 5) -> Iterator[None]:
    """Raise UserError in place of errors that are only the echo of another process's or worker's end.

    Args:
        patience: seconds that the other processes have to say that they are there.
    """
    try:
        yield
    except Exception as error:
        peers = current_peers()
        lost = isinstance(error, RuntimeError) and CONNECTION.search(str(error)) is not None
        if peers is not None:
            peers.tell(LOST if lost else f'{type(error).__name__}: {error}')
        if lost and peers is not None:
            raise UserError(f'{_whom(peers, patience)}. Start all processes again with --resume '
                            f'({str(error).splitlines()[0][:200]})') from error
        if isinstance(error, RuntimeError):
            name_worker_failure(error)
        raise


def _whom(peers: Peers, patience: float) -> str:
    told: dict[int, str] = {}
    reached = threading.Event()

    def listen() -> None:
        deadline = time.monotonic() + patience
        with contextlib.suppress(Exception):  # the store is gone
            while time.monotonic() < deadline and len(told) < len(peers.others):
                for rank in peers.others:
                    if rank not in told and (word := peers.told_by(rank)) is not None:
                        told[rank] = word
                reached.set()
                time.sleep(0.1)

    listener = threading.Thread(target=listen, daemon=True)  # the store may never answer
    listener.start()
    listener.join(patience + 1)
    if not reached.is_set():
        return f'no connection to the machine of process 0, {peers.names[0]}: it has ended or cannot be reached'
    failed = [f'process {rank} on {peers.names[rank]} ended with {word}' for rank, word in told.items() if word != LOST]
    silent = [f'no answer from process {rank} on {peers.names[rank]}: it was killed or cannot be reached'
              for rank in peers.others if rank not in told]
    return '; '.join([*failed, *silent]) or 'the processes can no longer reach each other'
