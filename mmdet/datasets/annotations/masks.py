"""The segmentations of some thousand annotations as columns of a table."""
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from mmdet.structures.mask.rle import checked_rles

from .schema import RunLengths
from .segmentation import Polygons, clip_polygons, usual_polygons
from .table import NO_MASK, POLYGONS, RLE


def mask_columns(segmentations: Sequence[Polygons | RunLengths | None], sizes: np.ndarray,
                 name: Callable[[int], str]) -> dict[str, np.ndarray]:
    """Kinds, polygons and run-length codes.

    Args:
        sizes: (n, 2), height and width of the image of each.
        name: what to call one in an error.

    Raises ValueError for a code that does not cover its image.
    """
    kinds = np.full(len(segmentations), NO_MASK, np.uint8)
    polygons: list[Polygons] = [mask if type(mask) is list else [] for mask in segmentations]  # type: ignore[misc]
    kinds[[bool(mask) for mask in polygons]] = POLYGONS
    coded = [i for i, mask in enumerate(segmentations) if isinstance(mask, RunLengths)]
    kinds[coded] = RLE
    rles = checked_rles([dict(size=list(mask.size), counts=mask.counts) for mask in segmentations
                         if isinstance(mask, RunLengths)], sizes[coded].tolist(), lambda k: name(coded[k]))
    codes = [rle['counts'].encode() for rle in rles]
    code_lengths = np.zeros(len(kinds), np.int64)
    code_lengths[coded] = [len(code) for code in codes]
    return dict(mask_kind=kinds, rles=np.frombuffer(b''.join(codes), np.uint8), rle_lengths=code_lengths,
                **_polygon_columns(polygons, sizes))


def _polygon_columns(polygons: list[Polygons], sizes: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of all polygons, how many each polygon has, and how many polygons each object."""
    flat = _flat(polygons)
    lengths = flat['polygon_lengths']
    reach = np.repeat(sizes.max(axis=1), flat['polygon_counts']).repeat(lengths)
    far = (flat['numbers'] < -reach) | (flat['numbers'] > 2 * reach)
    unusable = (lengths < 6) | (lengths % 2 == 1)
    if not far.any() and not unusable.any():
        return flat
    owner = np.repeat(np.arange(len(polygons)), flat['polygon_counts'])
    polygons = list(polygons)
    for i in np.unique(owner[unusable]):
        polygons[i] = usual_polygons(polygons[i])
    for i in np.unique(owner.repeat(lengths)[far]):
        polygons[i] = clip_polygons(polygons[i], *sizes[i])
    return _flat(polygons)


def _flat(polygons: list[Polygons]) -> dict[str, np.ndarray]:
    counts = np.fromiter(map(len, polygons), np.int64, len(polygons))
    lengths = np.fromiter(map(len, chain.from_iterable(polygons)), np.int64, int(counts.sum()))
    numbers = np.fromiter(chain.from_iterable(chain.from_iterable(polygons)), np.float64, int(lengths.sum()))
    return dict(numbers=numbers, polygon_lengths=lengths, polygon_counts=counts)
