"""What the readers of all formats give and the writers take: pictures with objects, their classes by name."""
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_api

from mmdet.errors import UserError

Mask = list[list[float]] | dict  # polygons x1, y1, x2, y2, ..., or a compressed run-length code
Box = tuple[float, float, float, float]


@dataclasses.dataclass
class Object:
    """An object: its class by name, its box (x, y, width, height) in pixels, its mask where it has one."""
    name: str
    box: Box
    mask: Mask | None = None
    area: float | None = None  # pixels, as the source states it
    crowd: bool = False        # neither learned nor counted: COCO's crowds, VOC's difficult objects
    id: Any = None             # as the source has it
    notes: dict = dataclasses.field(default_factory=dict)  # what only some formats hold: difficult, attributes, ...


@dataclasses.dataclass
class Picture:
    """A picture and its objects; height and width are 0 until they are known."""
    path: Path
    height: int
    width: int
    objects: list[Object] = dataclasses.field(default_factory=list)
    split: str = ''            # 'train', 'val', 'test' or '' where the source has none
    id: Any = None
    notes: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Collection:
    """Pictures of one source or of several.

    `broken` names the entries that cannot be used, `remarks` tells what was left out or changed.
    """
    pictures: list[Picture] = dataclasses.field(default_factory=list)
    classes: list[str] = dataclasses.field(default_factory=list)
    categories: dict[str, dict] = dataclasses.field(default_factory=dict)  # what COCO's entry of a class holds, id too
    broken: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    root: Path | None = None

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Goes on behind an entry that cannot be used."""
        try:
            yield
        except UserError as error:
            self.broken.append(str(error))

    def name_classes(self) -> None:
        """All names of objects, sorted, where the source has no list of them."""
        self.classes = sorted({item.name for picture in self.pictures for item in picture.objects})

    def folder(self) -> Path:
        """What file names are relative to: `root`, or the deepest folder that holds all pictures that are there."""
        if self.root is not None:
            return self.root
        parents = [str(picture.path.parent) for picture in self.pictures if picture.path.exists()] \
            or [str(picture.path.parent) for picture in self.pictures]
        return Path(os.path.commonpath(parents)) if parents else Path()


def merge(parts: Sequence[Collection]) -> Collection:
    """All pictures; classes of one name are one. A picture of several parts has the objects of all, equal ones once."""
    if len(parts) == 1:
        return parts[0]
    whole = Collection()
    known: dict[Path, Picture] = {}
    for part in parts:
        whole.classes += [name for name in part.classes if name not in whole.classes]
        whole.broken += part.broken
        whole.remarks += part.remarks
        for picture in part.pictures:
            first = known.setdefault(picture.path.resolve(), picture)
            if first is picture:
                whole.pictures.append(picture)
            else:
                first.objects += [item for item in picture.objects if item not in first.objects]
    repeated = sum(len(part.pictures) for part in parts) - len(whole.pictures)
    if repeated:
        whole.remarks.append(f'{repeated} pictures are in several sources: each has the objects of all')
    return whole


def box_of(polygons: list[list[float]]) -> Box:
    """The box around polygons."""
    points = np.concatenate([np.asarray(polygon, float).reshape(-1, 2) for polygon in polygons])
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x1, y1, x2 - x1, y2 - y1


def encode(pixels: np.ndarray) -> dict:
    """A mask (H, W) as a compressed run-length code."""
    rle = mask_api.encode(np.asfortranarray(pixels, np.uint8))
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode())


def run_lengths(mask: Mask, height: int, width: int) -> dict:
    """The mask of an object as one run-length code."""
    if isinstance(mask, dict):
        return mask
    return mask_api.merge(mask_api.frPyObjects(mask, height, width))


def area_of(item: Object, height: int, width: int) -> float:
    """What the source states, else the pixels of the mask, else the area of the box."""
    if item.area is not None:
        return item.area
    if item.mask:
        return float(mask_api.area(run_lengths(item.mask, height, width)))
    return item.box[2] * item.box[3]


def outlines(mask: Mask) -> list[list[float]]:
    """Polygons of a mask; of a run-length code the outer edges of its pixels, without its holes."""
    if isinstance(mask, list):
        return mask
    import cv2
    # With one more pixel to the right and below, the line through the middle of the border pixels is the edge.
    grown = cv2.dilate(np.pad(mask_api.decode(mask), ((0, 1), (0, 1))), np.ones((2, 2), np.uint8), anchor=(1, 1))
    contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.ravel().astype(float).tolist() for contour in contours if len(contour) >= 3]
