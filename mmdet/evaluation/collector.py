"""Python's garbage collector at rest while an evaluation makes dicts by the hundred thousand."""
import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """No search for cycles inside. Each would look at all objects anew, which takes half of the time to read a file."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
