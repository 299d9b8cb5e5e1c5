"""The entries of "annotations", some thousand at a time, as columns of a table."""
from collections.abc import Sequence
from struct import Struct

import msgspec
import numpy as np
from msgspec import Raw

from mmdet.errors import UserError

from .masks import FlatPolygons, mask_columns
from .schema import Annotation, EntryReader, Id, RunLengths, UnusualAnnotation, shown
from .segmentation import unusual_segmentation
from .values import Positions, flag, integers, number

BATCH = 64       # annotations that are Python objects at a time: as many as the processor's nearest caches hold
BOX = Struct('4d')
FARTHEST = 1e12  # pixels; beyond it the sum of x and width could be no number


class ObjectReader:
    """Reads the annotations of the file `path`, whose images, with their sizes (I, 2), and categories are known.

    `ids` collects the ids of all annotations, arrays of int64 where they are such numbers.
    """

    def __init__(self, path: str, image_ids: Sequence[Id], sizes: np.ndarray, category_ids: Sequence[Id]):
        self.path, self.sizes = path, sizes
        self.images, self.categories = Positions(image_ids), Positions(category_ids)
        self.decode = msgspec.json.Decoder(Annotation).decode
        self.decode_unusual = EntryReader(UnusualAnnotation, 'annotations', path)
        self.ids: list[Sequence[Id | None] | np.ndarray] = []
        self.raws: Sequence[Raw] = []
        self.start = 0

    def read(self, raws: Sequence[Raw], start: int) -> dict[str, np.ndarray]:
        """The columns of annotations that begin at position `start` of the file's list."""
        self.raws, self.start = raws, start
        rows: list[tuple] = []
        boxes: list[bytes] = []
        polygons = [FlatPolygons.join([])]
        codes: dict[int, RunLengths] = {}
        for first in range(0, len(raws), BATCH):
            entries = self._entries(first)
            rows += [(entry.id, entry.image_id, entry.category_id, entry.area, entry.iscrowd, entry.ignore)
                     for entry in entries]
            boxes += [BOX.pack(*entry.bbox) for entry in entries]
            masks = [entry.segmentation for entry in entries]
            codes.update((first + i, mask) for i, mask in enumerate(masks) if isinstance(mask, RunLengths))
            polygons.append(FlatPolygons.join([mask if type(mask) is list else [] for mask in masks]))
        ids, image_ids, category_ids, area, iscrowd, ignore = zip(*rows, strict=True) if rows else ((),) * 6
        numbers = integers(ids)
        self.ids.append(ids if numbers is None else numbers)
        box = self._boxes(np.frombuffer(b''.join(boxes)).reshape(-1, 4))
        areas = self._areas(area)
        image = self._places('image_id', image_ids, self.images)
        return dict(
            image=image, category=self._places('category_id', category_ids, self.categories), boxes=box,
            areas=np.where(np.isnan(areas), box[:, 2] * box[:, 3], areas),
            crowd=self._flags('iscrowd', iscrowd), ignored=self._flags('ignore', ignore),
            **mask_columns(FlatPolygons(*map(np.concatenate, zip(*polygons, strict=True))), codes, self.sizes[image],
                           lambda i: f'{self.path}: annotations[{start + i}].segmentation'))

    def _entries(self, first: int) -> list[Annotation]:
        raws, decode = self.raws[first:first + BATCH], self.decode
        try:
            return [decode(raw) for raw in raws]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return [self._unusual(raw, first + i) for i, raw in enumerate(raws)]

    def _unusual(self, raw: Raw, i: int) -> Annotation:
        entry = self.decode_unusual(raw, self.start + i)
        try:
            entry.segmentation = unusual_segmentation(entry.segmentation)
        except ValueError:
            raise self._wrong(i, 'segmentation') from None
        return entry

    def _wrong(self, i: int, field: str, why: str = '') -> UserError:
        return self.decode_unusual.wrong(self.start + i, field, self.raws[i], why)

    def _places(self, field: str, ids: Sequence[Id], known: Positions) -> np.ndarray:
        found = known.find_integers(ids)
        if found is not None:
            return found
        places = [known.find(value) for value in ids]
        if None in places:
            name = field.removesuffix('_id')
            raise self._wrong(places.index(None), field, f'no {name} of the file has this id (they have '
                              f'{shown(list(known.places))}): add the {name} or remove the annotation')
        return np.array(places, np.int64)

    def _flags(self, field: str, values: Sequence) -> np.ndarray:
        meaning = {value: flag(value) for value in set(values)}
        if None in meaning.values():
            raise self._wrong(next(i for i, value in enumerate(values) if meaning[value] is None), field)
        return np.fromiter(map(meaning.__getitem__, values), np.bool_, len(values))

    def _areas(self, values: Sequence) -> np.ndarray:
        """NaN where there is none."""
        try:
            areas = np.array(values, np.float64)
        except ValueError:
            areas = np.full(len(values), np.nan)
        for i in np.flatnonzero(~np.isfinite(areas)).tolist():
            area = number(values[i])
            if area is None:
                raise self._wrong(i, 'area')
            areas[i] = area
        return areas

    def _boxes(self, boxes: np.ndarray) -> np.ndarray:
        wrong = (boxes[:, 2:] < 0).any(axis=1) | (np.abs(boxes) > FARTHEST).any(axis=1)
        if not wrong.any():
            return boxes
        i = int(np.argmax(wrong))
        fault = 'is too far outside' if boxes[i, 2:].min() >= 0 else \
            f'has a negative {"width" if boxes[i, 2] < 0 else "height"}'
        raise self._wrong(i, 'bbox', f'it {fault}: COCO boxes are x, y, width, height in pixels; correct or remove it')
