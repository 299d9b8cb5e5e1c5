"""What the kinds of malformed inputs have in common."""
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    run: Callable[[], bool]     # in an empty folder: does it, and tells whether the result is that of a sound input
    names: Sequence[str]        # regular expressions, all found in an error: the file, the entry
    says: Sequence[str] = ()    # where the result is another one, the log must have one of these words ('' is in any)
