"""COCO's run-length encodings as files and programs bring them, checked before any C code reads them."""
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from mmdet.errors import UserError

_CHUNK = 1 << 15  # characters that are read at once: what the processor's cache holds
_LONGEST = 6      # characters of a number; pycocotools' own reader overflows at more


def checked_rles(rles: Sequence[Any], sizes: Sequence[Sequence[int]], name: Callable[[int], str]) -> list[dict]:
    """The RLEs, compressed, each known to cover its image exactly: pycocotools may read them.

    pycocotools hangs, crashes or gives wrong figures for runs that are cut short or do not add up to the image.

    Args:
        rles: dicts of size [height, width] and counts, which is pycocotools' text (str or bytes) or a list of runs.
        sizes: height and width of the image of each.
        name: what to call the RLE at a position in an error, such as 'entry 3 of a.json'.

    Returns:
        dicts of size (as in `sizes`) and counts (str). Runs of length 0 are merged away.

    Raises:
        ValueError: the first RLE that is none, with its name and what is wrong.
    """
    checked = [_compressed(rle, size, i, name) for i, (rle, size) in enumerate(zip(rles, sizes, strict=True))]
    texts = [rle['counts'].encode('utf-8', 'surrogatepass') for rle in checked]
    areas = np.array([height * width for height, width in sizes], np.int64)
    for chunk in _chunks(texts):
        runs = _Runs.read(texts[chunk])
        wrong = np.flatnonzero(runs.unreadable | (runs.totals != areas[chunk]))
        if len(wrong):
            i = chunk.start + int(wrong[0])
            raise UserError(f'{name(i)}: {_fault(texts[i], sizes[i])}')
        for i in chunk.start + np.flatnonzero(runs.with_empty):
            # rleIou of pycocotools ends at an empty run in the middle.
            counts = mask_api.encode(mask_api.decode([checked[i]]))[0]['counts']
            checked[i] = dict(checked[i], counts=counts.decode())
    return checked


def _compressed(rle: Any, size: Sequence[int], i: int, name: Callable[[int], str]) -> dict:
    """The RLE with counts as a text, which is not checked, and the image's size."""
    if not isinstance(rle, dict) or 'size' not in rle or 'counts' not in rle:
        raise UserError(f'{name(i)} must be an RLE, a dict of size and counts, not {_shown(rle)}')
    own, counts = rle['size'], rle['counts']
    if not isinstance(own, (list, tuple, np.ndarray)) or list(own) != list(size):
        swapped = isinstance(own, (list, tuple)) and list(own) == list(size)[::-1]
        raise UserError(f'{name(i)} has the size {_shown(own)}, but its image has {list(size)}, height and width'
                        + ': the two are swapped' * swapped)
    if isinstance(counts, bytes):
        return dict(size=list(size), counts=counts.decode('latin-1'))
    if not isinstance(counts, str):
        return dict(size=list(size), counts=_compress(counts, size, i, name))
    return rle if type(own[0]) is type(own[1]) is int else dict(size=list(size), counts=counts)


def _compress(counts: Any, size: Sequence[int], i: int, name: Callable[[int], str]) -> str:
    try:
        runs = np.asarray(counts)
    except ValueError:  # lists of several lengths in it
        runs = np.empty(0, object)
    if runs.ndim != 1 or runs.dtype.kind not in 'iuf' or not (np.isfinite(runs) & (runs >= 0) & (runs % 1 == 0)).all():
        raise UserError(f'{name(i)} has counts {_shown(counts)}: they must be a text, or whole numbers from 0 on')
    height, width = size
    total = sum(runs.tolist())  # which no overflow makes fit
    if total != height * width:
        raise UserError(f'{name(i)}: {_misfit(total, size)}')
    return mask_api.frPyObjects(dict(size=[height, width], counts=runs.tolist()), height, width)['counts'].decode()


class _Runs(NamedTuple):
    """The runs of N texts: two a row, each text beginning a row of its own. What a last row lacks is 0."""
    lengths: np.ndarray      # (R, 2) int32: pycocotools wraps at 2 ** 32, too
    first: np.ndarray        # (N + 1,) row in which each text begins
    unreadable: np.ndarray   # (N,) bool
    with_empty: np.ndarray   # (N,) bool, whether a run other than the first has length 0

    @classmethod
    def read(cls, texts: Sequence[bytes]) -> '_Runs':
        """Five bits a character, the lowest first: 32 says that the number goes on, 16 of the last one is its sign."""
        ends = np.cumsum([len(text) for text in texts])
        codes = np.frombuffer(b''.join(texts), np.uint8) - np.uint8(48)
        is_last = codes < 32
        text_ends = ends[np.diff(ends, prepend=0) > 0] - 1
        unfinished = text_ends[~is_last[text_ends]]
        is_last[text_ends] = True
        number_ends = np.flatnonzero(is_last)
        sizes = np.diff(number_ends, prepend=-1)
        numbers = (codes[number_ends] & 31).astype(np.int32)
        numbers -= (numbers & 16) << 1
        longer = np.flatnonzero(sizes > 1)
        for k in range(1, _LONGEST):
            numbers[longer] = (numbers[longer] << 5) + (codes[number_ends[longer] - k] & 31)
            longer = longer[sizes[longer] > k + 1]
        counts = np.diff(np.searchsorted(number_ends, ends), prepend=0)
        lengths, first = _undo_differences(numbers, counts)
        flat = lengths.reshape(-1)
        unreadable = np.zeros(len(texts), bool)
        unreadable[np.searchsorted(ends, np.concatenate([np.flatnonzero(codes > 63), unfinished, number_ends[longer]]),
                                   side='right')] = True
        unreadable[np.searchsorted(first, np.flatnonzero(flat < 0) // 2, side='right') - 1] = True
        with_empty = np.zeros(len(texts), bool)
        empty = np.setdiff1d(np.flatnonzero(flat == 0), np.concatenate([
            2 * first[:-1], 2 * first[1:][counts % 2 == 1] - 1]))  # neither the first run nor what is no run
        with_empty[np.searchsorted(first, empty // 2, side='right') - 1] = True
        return cls(lengths, first, unreadable, with_empty)

    @property
    def totals(self) -> np.ndarray:
        """Pixels that each text covers, (N,)."""
        return _parts(self.lengths[:, 0].astype(np.int64) + self.lengths[:, 1], self.first)


def _undo_differences(numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`lengths` and `first` of _Runs. From the fourth number of a text on each is a difference to the last but one."""
    first = np.concatenate([[0], np.cumsum((counts + 1) // 2)])
    place = np.arange(len(numbers)) + np.repeat(2 * first[:-1] - np.cumsum(counts) + counts, counts)
    lengths = np.zeros((first[-1], 2), np.int32)
    lengths.reshape(-1)[place] = numbers
    starts = first[:-1][counts > 0]
    alone = lengths[starts, 0]
    lengths[starts, 0] = 0
    np.cumsum(lengths, axis=0, dtype=np.int32, out=lengths)
    before = np.concatenate([np.zeros((1, 2), np.int32), lengths[starts[1:] - 1]])[:len(starts)]
    lengths -= np.repeat(before, np.diff(first)[counts > 0], axis=0)
    lengths[starts, 0] = alone
    lengths[first[1:][counts % 2 == 1] - 1, 1] = 0
    return lengths, first


def _parts(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums from each of `first` to the next."""
    return np.diff(np.concatenate([[0], np.cumsum(values)])[first])


def _chunks(texts: list[bytes]) -> list[slice]:
    numbers = np.cumsum([len(text) for text in texts], dtype=np.int64) // _CHUNK
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(texts)]
    return [slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False) if stop > start]


def _fault(text: bytes, size: Sequence[int]) -> str:
    strange = [character for character in text if not 48 <= character < 112]
    if strange:
        return f'its counts hold the character {chr(strange[0])!a}, which no RLE has'
    if text and text[-1] - 48 >= 32:
        return 'its counts are cut short: they end within a number'
    runs = _Runs.read([text])
    if runs.unreadable[0]:
        return f'its counts are damaged: run {int(np.argmax(runs.lengths.ravel() < 0))} is negative or too large'
    return _misfit(runs.totals[0], size)


def _misfit(pixels: float, size: Sequence[int]) -> str:
    height, width = size
    return f'its counts cover {int(pixels)} pixels, its size [{height}, {width}] has {height * width}'


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + '...'
