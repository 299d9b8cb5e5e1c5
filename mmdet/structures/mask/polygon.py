"""PolygonMasks: instance masks as polygons."""
from collections.abc import Iterator, Sequence

import mmcv
import numpy as np
import torch

from .bitmap import BitmapMasks, crop_window, flip_axes
from .clip import clip_polygon
from .windows import Index, MaskWindows, positions


class PolygonMasks:
    """The masks of one image as polygons, with mmdetection's interface.

    Args:
        masks: for each of N objects the list of its polygons, each an array x1, y1, x2, y2, ... in pixels.
        height, width: size of the image in pixels.
    """

    def __init__(self, masks: list[list[np.ndarray]], height: int, width: int):
        self.masks = masks
        self.height, self.width = int(height), int(width)

    @property
    def windows(self) -> MaskWindows:
        """Every object as pycocotools rasterizes it, in its own box only; computed at each call."""
        return MaskWindows.draw(self.masks, self.height, self.width)

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        return iter(self.masks)

    def __repr__(self) -> str:
        return f'PolygonMasks(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __getitem__(self, index: Index) -> 'PolygonMasks':
        """Masks at an integer, a slice, or an array of integers or booleans."""
        return PolygonMasks([self.masks[i] for i in positions(index, len(self))], self.height, self.width)

    @classmethod
    def cat(cls, masks: Sequence['PolygonMasks']) -> 'PolygonMasks':
        """Join the masks of several PolygonMasks of one image size."""
        return cls([polygons for m in masks for polygons in m.masks], masks[0].height, masks[0].width)

    def _map(self, scale, offset, out_shape) -> 'PolygonMasks':
        """Points times `scale` plus `offset`, both (x, y)."""
        return PolygonMasks([[(p.reshape(-1, 2) * scale + offset).ravel() for p in polygons]
                             for polygons in self.masks], *out_shape)

    def resize(self, out_shape: tuple[int, int]) -> 'PolygonMasks':
        """Scale to an image of (h, w)."""
        return self._map((out_shape[1] / self.width, out_shape[0] / self.height), (0, 0), out_shape)

    def rescale(self, scale: float | tuple[int, int]) -> 'PolygonMasks':
        """Resize by a factor, or to the largest size within (long side, short side) that keeps the aspect ratio."""
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width))

    def flip(self, flip_direction: str = 'horizontal') -> 'PolygonMasks':
        """Mirror: 'horizontal', 'vertical', or 'diagonal' for both."""
        mirrored = np.array(flip_axes(flip_direction))
        return self._map(np.where(mirrored, -1, 1), mirrored * (self.width, self.height), (self.height, self.width))

    def pad(self, out_shape: tuple[int, int]) -> 'PolygonMasks':
        """Background added at the right and the bottom up to (h, w)."""
        return PolygonMasks(self.masks, *out_shape)

    def crop(self, bbox: np.ndarray) -> 'PolygonMasks':
        """Cut to the integer box x1, y1, x2, y2; an object wholly outside becomes a polygon without area."""
        x, y, width, height = crop_window(bbox, self.height, self.width)
        moved = self._map((1, 1), (-x, -y), (height, width))
        return PolygonMasks([_clip_all(polygons, height, width) for polygons in moved], height, width)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> 'PolygonMasks':
        """Place the image at (left, top) of another one."""
        moved = self._map((1, 1), (left, top), (expanded_h, expanded_w))
        return PolygonMasks([_clip_all(polygons, expanded_h, expanded_w) for polygons in moved], expanded_h, expanded_w)

    def translate(self, out_shape: tuple[int, int], offset: float, direction: str = 'horizontal') -> 'PolygonMasks':
        """Move by `offset` pixels, 'horizontal' or 'vertical', in an image of out_shape (h, w)."""
        moved = self._map((1, 1), (offset, 0) if direction == 'horizontal' else (0, offset), out_shape)
        return PolygonMasks([_clip_all(polygons, *out_shape) for polygons in moved], *out_shape)

    def crop_and_resize(self, bboxes: np.ndarray | torch.Tensor, out_shape: tuple[int, int],
                        inds: np.ndarray | torch.Tensor, device: str | torch.device = 'cpu') -> 'PolygonMasks':
        """Polygons of object inds[i] relative to box bboxes[i] (R, 4), scaled to (h, w)."""
        targets = []
        for box, i in zip(np.asarray(bboxes), np.asarray(inds), strict=True):
            scale = np.array([out_shape[1], out_shape[0]]) / np.maximum(box[2:] - box[:2], 1)
            targets += self[int(i)]._map(scale, -box[:2] * scale, out_shape).masks
        return PolygonMasks(targets, *out_shape)

    @property
    def areas(self) -> np.ndarray:
        """Areas inside the polygons (shoelace formula), (N,) float64."""
        return np.array([sum(_area(p) for p in polygons) for polygons in self.masks], np.float64)

    def get_bboxes(self) -> np.ndarray:
        """Boxes (N, 4) float32 xyxy round the points of each object."""
        points = [np.concatenate(polygons).reshape(-1, 2) for polygons in self.masks]
        boxes = [np.concatenate([p.min(axis=0), p.max(axis=0)]) for p in points]
        return np.array(boxes, np.float32).reshape(-1, 4)

    def to_bitmap(self) -> BitmapMasks:
        return BitmapMasks(self.windows, self.height, self.width)

    def to_ndarray(self) -> np.ndarray:
        """The masks, (N, H, W) uint8."""
        return self.windows.paint(self.height, self.width)

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> torch.Tensor:
        """The masks as a tensor (N, H, W)."""
        return torch.from_numpy(self.to_ndarray()).to(device=device, dtype=dtype)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.reshape(-1, 2).T
    return 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))


def _clip_all(polygons: list[np.ndarray], height: int, width: int) -> list[np.ndarray]:
    """The parts of an object's polygons inside the image; one polygon without area when nothing is."""
    clipped = [clip_polygon(p.reshape(-1, 2), 0, 0, width, height).ravel() for p in polygons]
    return [p for p in clipped if len(p) >= 6] or [np.zeros(6)]
