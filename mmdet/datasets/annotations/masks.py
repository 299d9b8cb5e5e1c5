"""The segmentations of some thousand annotations as columns of a table."""
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from mmdet.structures.mask.rle import checked_rles

from .schema import RunLengths
from .segmentation import Polygons, clip_polygons, usual_polygons
from .table import NO_MASK, POLYGONS, RLE, offsets


class FlatPolygons(NamedTuple):
    """The polygons of n objects one after the other."""
    numbers: np.ndarray  # float64, x1, y1, x2, y2, ...
    lengths: np.ndarray  # (P,) int64, numbers of each polygon
    counts: np.ndarray   # (n,) int64, polygons of each object

    @classmethod
    def join(cls, objects: Sequence[Polygons]) -> 'FlatPolygons':
        counts = np.fromiter(map(len, objects), np.int64, len(objects))
        polygons = list(chain.from_iterable(objects))
        lengths = np.fromiter(map(len, polygons), np.int64, len(polygons))
        numbers = b''.join([_doubles(len(polygon)).pack(*polygon) for polygon in polygons])
        return cls(np.frombuffer(numbers), lengths, counts)

    def objects(self) -> list[Polygons]:
        ends = np.cumsum(self.lengths)
        polygons = [part.tolist() for part in np.split(self.numbers, ends)]
        at = offsets(self.counts).tolist()
        return [polygons[start:end] for start, end in zip(at, at[1:], strict=False)]


@functools.cache
def _doubles(count: int) -> struct.Struct:
    """Packs a list in less time than NumPy takes to go through it."""
    return struct.Struct(f'{count}d')


def mask_columns(flat: FlatPolygons, codes: Mapping[int, RunLengths], sizes: np.ndarray,
                 name: Callable[[int], str]) -> dict[str, np.ndarray]:
    """Kinds, polygons and run-length codes.

    Args:
        flat: the polygons, as the file has them.
        codes: the run-length codes of those objects that have one.
        sizes: (n, 2), height and width of the image of each object.
        name: what to call the segmentation of an object in an error.

    Raises ValueError for a code that does not cover its image.
    """
    kinds = np.where(flat.counts > 0, POLYGONS, NO_MASK).astype(np.uint8)
    coded = list(codes)
    kinds[coded] = RLE
    rles = checked_rles([dict(size=list(code.size), counts=code.counts) for code in codes.values()],
                        sizes[coded].tolist(), lambda k: name(coded[k]))
    texts = [rle['counts'].encode() for rle in rles]
    code_lengths = np.zeros(len(kinds), np.int64)
    code_lengths[coded] = [len(text) for text in texts]
    flat = _usual(flat, sizes)
    return dict(mask_kind=kinds, rles=np.frombuffer(b''.join(texts), np.uint8), rle_lengths=code_lengths,
                numbers=flat.numbers, polygon_lengths=flat.lengths, polygon_counts=flat.counts)


def _usual(flat: FlatPolygons, sizes: np.ndarray) -> FlatPolygons:
    """The polygons without those of less than 3 points, and without what lies far outside of the image."""
    if not len(flat.lengths):
        return flat
    if flat.lengths.min() >= 6 and (flat.lengths % 2 == 0).all():
        starts = offsets(flat.lengths)[:-1]
        reach = np.repeat(sizes.max(axis=1), flat.counts)  # what is within it is not far from the polygon's image
        if (np.maximum.reduceat(flat.numbers, starts) <= reach).all() \
                and (np.minimum.reduceat(flat.numbers, starts) >= -reach).all():
            return flat
    return FlatPolygons.join([clip_polygons(usual_polygons(polygons), height, width) for polygons, (height, width)
                              in zip(flat.objects(), sizes.tolist(), strict=True)])
