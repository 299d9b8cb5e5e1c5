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
    """The runs of N texts, one after the other."""
    lengths: np.ndarray      # (R,) int64
    totals: np.ndarray       # (N,) pixels that a text covers
    with_empty: np.ndarray   # (N,) bool, whether a run other than the first has length 0
    unreadable: np.ndarray   # (N,) bool

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
        lengths = (codes[number_ends] & 31).astype(np.int64)
        lengths -= (lengths & 16) << 1
        longer = np.arange(len(sizes))
        for k in range(1, _LONGEST):
            longer = longer[sizes[longer] > k]
            lengths[longer] = (lengths[longer] << 5) + (codes[number_ends[longer] - k] & 31)
        first = np.concatenate([[0], np.searchsorted(number_ends, ends)])
        places = np.arange(len(lengths)) - np.repeat(first[:-1], np.diff(first))
        for start in (1, 2):  # from the fourth number on each is a difference to the last but one
            chain = np.flatnonzero((places & 1 == start & 1) & (places > 0))
            lengths[chain] = _sums(lengths[chain], places[chain] == start)
        bad = np.concatenate([np.flatnonzero(codes > 63), unfinished, number_ends[(sizes > _LONGEST) | (lengths < 0)]])
        unreadable = np.zeros(len(texts), bool)
        unreadable[np.searchsorted(ends, bad, side='right')] = True
        return cls(lengths, _parts(lengths, first), _parts((lengths == 0) & (places > 0), first) > 0, unreadable)


def _parts(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums from each of `first` to the next."""
    return np.diff(np.concatenate([[0], np.cumsum(values)])[first])


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Cumulative sums that begin anew where `starts` says so."""
    sums = np.cumsum(values)
    return sums - (sums - values)[starts][np.cumsum(starts) - 1]


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
        return f'its counts are damaged: run {int(np.argmax(runs.lengths < 0))} is negative or too large'
    return _misfit(runs.totals[0], size)


def _misfit(pixels: float, size: Sequence[int]) -> str:
    height, width = size
    return f'its counts cover {int(pixels)} pixels, its size [{height}, {width}] has {height * width}'


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + '...'
