"""Python's search for objects in cycles, at rest where millions of objects come and go."""
import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Nothing made inside is in a cycle; to look for cycles among all else takes half the time of reading a file."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
