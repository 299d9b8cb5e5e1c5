"""How far a long loop is: a bar on a terminal, now and then a line in a file or a pipe."""
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from typing import TypeVar

Item = TypeVar('Item')
SECONDS = 30  # between lines


def progress(items: Collection[Item], name: str) -> Iterator[Item]:
    """The items one by one; what is told goes to stderr under `name`. A loop of few seconds tells nothing."""
    if sys.stderr.isatty():
        from tqdm import tqdm
        width, height = shutil.get_terminal_size()  # tqdm shows nothing where a terminal tells none
        yield from tqdm(items, desc=name, delay=1, ncols=width, nrows=height, leave=False)
        return
    told = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - told > SECONDS:
            print(f'{name}: {done} of {len(items)}', file=sys.stderr, flush=True)
            told = time.monotonic()
        yield item
