"""The annotations of a file as arrays, which processes can share."""
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

NO_MASK, POLYGONS, RLE = range(3)  # kinds of segmentation


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotationTable:
    """I images, N objects and C categories in the order of the file; ids are unique, sizes real, boxes finite.

    Texts and numbers of varying count stand in one array after the other: entry i of `names` is
    names[names_at[i]:names_at[i + 1]]. Ids are JSON, so that they are written back as they were.
    """
    image_ids: np.ndarray         # uint8, JSON
    image_ids_at: np.ndarray      # (I + 1,) int64
    file_names: np.ndarray        # uint8, UTF-8
    file_names_at: np.ndarray     # (I + 1,) int64
    sizes: np.ndarray             # (I, 2) int64, height and width in pixels
    category_ids: np.ndarray      # uint8, JSON
    category_ids_at: np.ndarray   # (C + 1,) int64
    category_names: np.ndarray    # uint8, UTF-8
    category_names_at: np.ndarray  # (C + 1,) int64
    image: np.ndarray             # (N,) int64, position of the image an object is in
    category: np.ndarray          # (N,) int64, position of its category
    boxes: np.ndarray             # (N, 4) float64, x, y, width, height in pixels
    areas: np.ndarray             # (N,) float64, pixels; the box's where the file has none
    crowd: np.ndarray             # (N,) bool
    ignored: np.ndarray           # (N,) bool, by the file's own word
    mask_kind: np.ndarray         # (N,) uint8, NO_MASK, POLYGONS or RLE
    rles: np.ndarray              # uint8, compressed counts; their size is the image's
    rles_at: np.ndarray           # (N + 1,) int64
    numbers: np.ndarray           # float64, x1, y1, x2, y2, ... of polygons, at least 6 each
    numbers_at: np.ndarray        # (P + 1,) int64, where each polygon begins
    polygons_at: np.ndarray       # (N + 1,) int64, an object's first polygon
    by_image: np.ndarray          # (N,) int64, objects sorted by image
    by_image_at: np.ndarray       # (I + 1,) int64
    complete: np.ndarray          # () bool, whether the file has a list of annotations
    mapped_from: Path | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if name != 'mapped_from'}

    @property
    def num_images(self) -> int:
        return len(self.sizes)

    @property
    def num_objects(self) -> int:
        return len(self.boxes)

    @property
    def categories(self) -> list[dict]:
        """dicts of id and name."""
        return [dict(id=self._id('category_ids', i), name=self._string('category_names', i))
                for i in range(len(self.category_ids_at) - 1)]

    def image_id(self, i: int) -> int | float | str:
        return self._id('image_ids', i)

    def file_name(self, i: int) -> str:
        return self._string('file_names', i)

    def objects(self, i: int) -> np.ndarray:
        """Positions of the objects of image i, in the order of the file."""
        return self.by_image[self.by_image_at[i]:self.by_image_at[i + 1]]

    def segmentation(self, n: int) -> list[list[float]] | dict | None:
        """Polygons, a compressed RLE (dict of size and counts) or None; an empty list where no polygon is usable."""
        return self.segmentations(np.array([n]))[0]

    def segmentations(self, objects: np.ndarray) -> list[list[list[float]] | dict | None]:
        """The segmentation of each of some objects."""
        masks: list[list[list[float]] | dict | None] = []
        for n, kind, first, last in zip(objects.tolist(), self.mask_kind[objects].tolist(),
                                        self.polygons_at[objects].tolist(), self.polygons_at[objects + 1].tolist(),
                                        strict=True):
            if kind == RLE:
                masks.append(dict(size=self.sizes[self.image[n]].tolist(), counts=self._string('rles', n)))
            elif kind == NO_MASK:
                masks.append(None)
            else:
                at = self.numbers_at[first:last + 1].tolist()
                masks.append([self.numbers[start:end].tolist() for start, end in zip(at, at[1:], strict=False)])
        return masks

    def _string(self, name: str, i: int) -> str:
        start, end = getattr(self, f'{name}_at')[i:i + 2]
        return getattr(self, name)[start:end].tobytes().decode()

    def _id(self, name: str, i: int) -> Any:
        return msgspec.json.decode(self._string(name, i))


def texts(values: list[str] | list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Texts as the pair of arrays that a table holds."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return np.frombuffer(b''.join(encoded), np.uint8), offsets([len(text) for text in encoded])


def offsets(counts: list[int] | np.ndarray) -> np.ndarray:
    """Where each of the groups begins that have so many members, and where the last ends: (n + 1,) int64."""
    at = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=at[1:])
    return at
