"""Work done ahead, in threads, while the detector runs."""
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


def ahead(items: Iterable[Item], work: Callable[[Item], Result], workers: int = 2,
          depth: int = 4) -> Iterator[Result]:
    """work(item) of each item, in their order. What the items or the work raise is raised here, in its place.

    Items are read, and the work on them done, up to `depth` ahead. Decoding and resizing do not hold Python's lock, so
    threads do as well as processes, and nothing is copied.
    """
    results: queue.Queue[Future | None] = queue.Queue(depth)
    stopped = threading.Event()

    def put(future: Future | None) -> None:
        while not stopped.is_set():
            try:
                return results.put(future, timeout=0.1)
            except queue.Full:
                pass

    def read() -> None:
        with ThreadPoolExecutor(workers) as pool:
            try:
                for item in items:
                    put(pool.submit(work, item))
                    if stopped.is_set():
                        return
                put(None)
            except Exception as error:
                failed: Future = Future()
                failed.set_exception(error)
                put(failed)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (future := results.get()) is not None:
            yield future.result()
    finally:
        stopped.set()
        reader.join()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last of what is left."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
