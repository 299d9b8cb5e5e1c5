"""Values that files write in several ways."""
import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .schema import Id

FLAGS = {'0': False, '1': True, 'false': False, 'true': True, '': False}


def whole_number(value: int | float | str) -> int | None:
    """A number from 1 on, also as digits in text or as 10.0; None for any other."""
    if isinstance(value, str):
        value = int(value) if value.strip().isdecimal() and len(value) < 20 else 0
    return int(value) if 1 <= value < 2 ** 31 and value == int(value) else None


def flag(value: Any) -> bool | None:
    """What true, 1, 1.0, "1" or nothing says; None for what says neither yes nor no."""
    if value is None or value in (0, 1):
        return bool(value)
    return FLAGS.get(value.strip().lower()) if isinstance(value, str) else None


def number(value: float | str | None) -> float | None:
    """A number, also as text; NaN where there is none; None for text that is no number."""
    try:
        return math.nan if value is None else float(value) if math.isfinite(float(value)) else None
    except ValueError:
        return None


def integers(values: Sequence) -> np.ndarray | None:
    """The values as int64; None where one is something else."""
    if set(map(type, values)) - {int}:
        return None
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return None


class Positions:
    """Where each id stands in a list. An id that is written once as 7 and once as "7" is one, if nothing else is."""

    def __init__(self, ids: Sequence[Id]):
        self.places = {value: i for i, value in enumerate(ids)}

    def find_integers(self, values: Sequence[Id]) -> np.ndarray | None:
        """Where each of the values stands; None where one does not, or not all ids and values are integers."""
        wanted = integers(values)
        if wanted is None or self._sorted is None:
            return None
        ids, places = self._sorted
        at = np.searchsorted(ids[:-1], wanted)
        return places[at] if np.array_equal(ids[at], wanted) else None

    @functools.cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray] | None:
        ids = integers(list(self.places))
        if ids is None or not len(ids):
            return None
        places = np.argsort(ids)
        return ids[places], places

    def find(self, value: Id) -> int | None:
        place = self.places.get(value)
        return self._places_of_text.get(str(value)) if place is None else place

    @functools.cached_property
    def _places_of_text(self) -> dict[str, int]:
        number_of = Counter(map(str, self.places))
        return {str(value): place for value, place in self.places.items() if number_of[str(value)] == 1}
