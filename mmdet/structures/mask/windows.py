"""Masks kept as the small windows they fill: what travels from the loader's workers and what the mask head reads."""
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from pycocotools import mask as mask_api

from .clip import clip_far

# An integer, a slice, or integers or booleans.
Index = int | slice | Sequence[int] | np.ndarray | torch.Tensor


class MaskWindows(NamedTuple):
    """N masks, each cut to its tight window, row-major, one after the other.

    An empty mask has the window 0, 0, 0, 0 and no pixels.
    """
    pixels: np.ndarray      # (P,) uint8, 0 or 1
    boxes: np.ndarray       # (N, 4) int64, x1, y1, x2, y2 in the image, x2 and y2 outside the window

    @classmethod
    def pack(cls, pieces: Iterable[np.ndarray], corners: Iterable[tuple[int, int]]) -> 'MaskWindows':
        """Join uint8 0/1 masks (h, w), each with its left and top in the image, after cutting their empty borders."""
        pixels, boxes = [np.empty(0, np.uint8)], []
        for piece, (left, top) in zip(pieces, corners, strict=True):
            x, y, w, h = cv2.boundingRect(piece) if piece.size else (0, 0, 0, 0)
            pixels.append(piece[y:y + h, x:x + w].ravel())
            boxes.append((left + x, top + y, left + x + w, top + y + h) if w else (0, 0, 0, 0))
        return cls(np.concatenate(pixels), np.array(boxes, np.int64).reshape(-1, 4))

    @classmethod
    def draw(cls, segmentations: Iterable[list[np.ndarray] | dict], height: int, width: int) -> 'MaskWindows':
        """Masks from polygons (arrays x1, y1, x2, y2 ...) or compressed RLEs, pixel for pixel pycocotools'.

        Points outside by more than the image's longer side are cut off first.
        """
        drawn = [_rasterize([clip_far(p, height, width) for p in s]) if isinstance(s, list) else _decode(s)
                 for s in segmentations]
        windows = cls.pack([piece for piece, _ in drawn], [corner for _, corner in drawn])
        return windows.shift(0, 0, height, width)

    @property
    def areas(self) -> np.ndarray:
        """Foreground pixels of each mask, (N,) int64."""
        return np.array([np.count_nonzero(piece) for piece in self.pieces()], np.int64)

    def pieces(self) -> list[np.ndarray]:
        """The N windows as views (h, w) of `pixels`."""
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        ends = np.cumsum(sizes.prod(axis=1))
        return [self.pixels[end - w * h:end].reshape(h, w) for (w, h), end in zip(sizes, ends, strict=True)]

    def paint(self, height: int, width: int) -> np.ndarray:
        """The full masks, (N, height, width) uint8."""
        full = np.zeros((len(self.boxes), height, width), np.uint8)
        for mask, piece, (x1, y1, x2, y2) in zip(full, self.pieces(), self.boxes, strict=True):
            mask[y1:y2, x1:x2] = piece
        return full

    def select(self, index: np.ndarray) -> 'MaskWindows':
        """The masks at the integer positions `index`, in that order."""
        pieces = self.pieces()
        pixels = [np.empty(0, np.uint8), *(pieces[i].ravel() for i in index)]
        return MaskWindows(np.concatenate(pixels), self.boxes[index].reshape(-1, 4))

    def shift(self, dx: int, dy: int, height: int, width: int) -> 'MaskWindows':
        """Move every mask by (dx, dy) and cut it to an image of height x width."""
        boxes = self.boxes + np.array([dx, dy, dx, dy])
        inside = boxes.clip(0, np.array([width, height, width, height]))
        cut = inside - boxes[:, [0, 1, 0, 1]]
        pieces = [piece[y1:y2, x1:x2] for piece, (x1, y1, x2, y2) in zip(self.pieces(), cut, strict=True)]
        return MaskWindows.pack(pieces, inside[:, :2].tolist())

    def resize(self, from_shape: tuple[int, int], to_shape: tuple[int, int]) -> 'MaskWindows':
        """Nearest-neighbour resize of the images (h, w) the masks lie in, with cv2's choice of pixels."""
        rows, columns = (np.minimum((np.arange(new) * (1 / (new / old))).astype(np.int64), old - 1)
                         for old, new in zip(from_shape, to_shape, strict=True))
        left, right = (np.searchsorted(columns, self.boxes[:, i]) for i in (0, 2))
        top, bottom = (np.searchsorted(rows, self.boxes[:, i]) for i in (1, 3))
        pieces = [piece[np.ix_(rows[t:b] - y, columns[le:r] - x)] for piece, (x, y), le, r, t, b in
                  zip(self.pieces(), self.boxes[:, :2], left, right, top, bottom, strict=True)]
        return MaskWindows.pack(pieces, zip(left.tolist(), top.tolist(), strict=True))

    def flip(self, height: int, width: int, horizontal: bool, vertical: bool) -> 'MaskWindows':
        """Mirror the height x width images the masks lie in."""
        step = (slice(None, None, -1 if vertical else 1), slice(None, None, -1 if horizontal else 1))
        x1, y1, x2, y2 = self.boxes.T
        left = width - x2 if horizontal else x1
        top = height - y2 if vertical else y1
        return MaskWindows.pack([np.ascontiguousarray(piece[step]) for piece in self.pieces()],
                                zip(left.tolist(), top.tolist(), strict=True))


def _rasterize(polygons: list[np.ndarray]) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (h, w) of one object in the integer box round it, and the box's left and top."""
    polygons = [p for p in polygons if len(p) >= 6] or [np.zeros(6)]
    fifths = [np.trunc(p.reshape(-1, 2) * 5 + 0.5) for p in polygons]  # rounded as pycocotools would, before the shift
    points = np.concatenate(fifths) / 5
    corner = np.floor(points.min(axis=0))
    width, height = (np.ceil(points.max(axis=0)) - corner + 1).astype(int).tolist()
    local = [(p / 5 - corner).ravel().tolist() for p in fifths]
    rle = mask_api.merge(mask_api.frPyObjects(local, height, width))
    left, top = corner.astype(int).tolist()
    piece, (x, y) = _decode(rle)
    return piece, (left + x, top + y)


def _decode(rle: dict) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (h, w) of a compressed RLE in its tight box, and the box's left and top."""
    x, y, w, h = mask_api.toBbox(rle).astype(int).tolist()
    return np.ascontiguousarray(mask_api.decode([rle])[y:y + h, x:x + w, 0]), (x, y)


def positions(index: Index, length: int) -> np.ndarray:
    """Integer positions that an integer, a slice, or integers or booleans of any kind pick out of `length` items."""
    if not isinstance(index, slice):
        index = np.asarray(index)
        index = index if index.size else index.astype(np.int64)
    return np.atleast_1d(np.arange(length)[index])
