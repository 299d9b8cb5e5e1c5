"""The ways in which files write a mask, brought into two: lists of polygons, and run-length codes."""
from typing import Any

import msgspec
import numpy as np

from mmdet.structures.mask.clip import clip_far

from .schema import RunLengths

Polygons = list[list[float]]


def usual_polygons(segmentation: Polygons) -> Polygons:
    """The polygons of at least 3 points; a list of points is one polygon."""
    usable = [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
    if not usable and len(segmentation) >= 3 and all(len(point) == 2 for point in segmentation):
        return [[number for point in segmentation for number in point]]
    return usable


def unusual_segmentation(value: Any) -> Polygons | RunLengths | None:
    """A segmentation that is not written as COCO writes it, as COCO would; ValueError where it has no clear meaning.

    Known are one polygon as a flat list, polygons as lists of points [x, y], sizes and runs as 10.0, and an empty dict.
    """
    if isinstance(value, dict):
        return msgspec.convert(_whole(value), RunLengths) if value else None
    if not isinstance(value, list):
        raise ValueError
    if not isinstance(value[0], list):
        if len(value) < 6 or len(value) % 2:
            raise ValueError
        return [msgspec.convert(value, list[float])]
    return [_polygon(polygon) for polygon in value]


def _polygon(value: Any) -> list[float]:
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return msgspec.convert(value, list[float])
    return [number for point in msgspec.convert(value, list[tuple[float, float]]) for number in point]


def _whole(rle: dict) -> dict:
    """The RunLengths with numbers such as 10.0 as 10."""
    def whole(values: Any) -> Any:
        return [int(v) if isinstance(v, float) and v.is_integer() else v for v in values] \
            if isinstance(values, list) else values
    return {name: whole(value) for name, value in rle.items()}


def clip_polygons(polygons: Polygons, height: int, width: int) -> Polygons:
    """The polygons with what lies far outside the image cut off."""
    clipped = (clip_far(np.array(polygon), height, width).tolist() for polygon in polygons)
    return [polygon for polygon in clipped if len(polygon) >= 6]
