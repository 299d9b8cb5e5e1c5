"""How far a long loop is: a bar on a terminal, now and then a line in a file or a pipe."""
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar('Item')
SECONDS = 30  # between lines


def progress(items: Iterable[Item], name: str, total: int | None = None) -> Iterator[Item]:
    """The items one by one; what is told goes to stderr under `name`. A loop of few seconds tells nothing.

    `total` is how many there are, where `items` do not tell.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm
        width, height = shutil.get_terminal_size()  # tqdm shows nothing where a terminal tells none
        yield from tqdm(items, name, total, delay=1, ncols=width, nrows=height, leave=False)
        return
    told = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - told > SECONDS:
            print(f'{name}: {done}' + (f' of {total}' if total else ''), file=sys.stderr, flush=True)
            told = time.monotonic()
        yield item
