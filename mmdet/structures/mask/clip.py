"""Polygons cut to a window."""
import numpy as np


def clip_polygon(points: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Sutherland-Hodgman: a polygon (n, 2) cut to a window, one border after the other."""
    for axis, sign, limit in ((0, 1, left), (0, -1, -right), (1, 1, top), (1, -1, -bottom)):
        distance = sign * points[:, axis] - limit
        following = np.roll(distance, -1)
        crosses = (distance >= 0) != (following >= 0)
        share = distance / np.where(crosses, distance - following, 1)
        between = points + share[:, None] * (np.roll(points, -1, axis=0) - points)
        keep = np.stack([distance >= 0, crosses], axis=1)  # a point inside stays; a side that crosses adds its crossing
        points = np.stack([points, between], axis=1)[keep]
    return points


def clip_far(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """A polygon (x1, y1, x2, y2, ...) as it is, or cut where it leaves the image by more than the image's longer side.

    The time and the memory that COCO's way to draw a polygon takes grow with how far its points lie outside. Less than
    6 numbers are left of a polygon that lies outside as a whole.
    """
    reach = max(height, width)
    if not len(polygon) or (polygon.min() >= -reach and polygon[::2].max() <= width + reach
                            and polygon[1::2].max() <= height + reach):
        return polygon
    points = polygon.reshape(-1, 2).clip(-1e12, 1e12)  # so that differences stay exact enough
    return clip_polygon(points, -reach, -reach, width + reach, height + reach).ravel()
