"""The entries of "annotations", some thousand at a time, as columns of a table."""
from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np
from msgspec import Raw

from mmdet.errors import UserError

from .masks import mask_columns
from .schema import Annotation, EntryReader, Id, UnusualAnnotation, shown
from .segmentation import unusual_segmentation
from .values import Positions, flag, number

FARTHEST = 1e12  # pixels; beyond it the sum of x and width could be no number


class ObjectReader:
    """Reads the annotations of the file `path`, whose images, with their sizes (I, 2), and categories are known.

    `ids` collects the ids of all annotations.
    """

    def __init__(self, path: str, image_ids: Sequence[Id], sizes: np.ndarray, category_ids: Sequence[Id]):
        self.path, self.sizes = path, sizes
        self.images, self.categories = Positions(image_ids), Positions(category_ids)
        self.decode = msgspec.json.Decoder(Annotation).decode
        self.decode_unusual = EntryReader(UnusualAnnotation, 'annotations', path)
        self.ids: list[Id | None] = []
        self.raws: Sequence[Raw] = []
        self.start = 0

    def read(self, raws: Sequence[Raw], start: int) -> dict[str, np.ndarray]:
        """The columns of annotations that begin at position `start` of the file's list."""
        self.raws, self.start = raws, start
        try:
            decode = self.decode
            entries = [decode(raw) for raw in raws]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            entries = [self._unusual(raw, i) for i, raw in enumerate(raws)]
        self.ids += [entry.id for entry in entries]
        boxes = self._boxes([entry.bbox for entry in entries])
        areas = self._areas([entry.area for entry in entries])
        image = self._places('image_id', [entry.image_id for entry in entries], self.images)
        category = self._places('category_id', [entry.category_id for entry in entries], self.categories)
        return dict(
            image=image, category=category, boxes=boxes,
            areas=np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas),
            crowd=self._flags('iscrowd', [entry.iscrowd for entry in entries]),
            ignored=self._flags('ignore', [entry.ignore for entry in entries]),
            **mask_columns([entry.segmentation for entry in entries], self.sizes[image],
                           lambda i: f'{self.path}: annotations[{start + i}].segmentation'))

    def _unusual(self, raw: Raw, i: int) -> Annotation:
        entry = self.decode_unusual(raw, self.start + i)
        try:
            entry.segmentation = unusual_segmentation(entry.segmentation)
        except ValueError:
            raise self._wrong(i, 'segmentation') from None
        return entry

    def _wrong(self, i: int, field: str, why: str = '') -> UserError:
        return self.decode_unusual.wrong(self.start + i, field, self.raws[i], why)

    def _places(self, field: str, ids: list[Id], known: Positions) -> np.ndarray:
        places: list = list(map(known.places.get, ids))
        if None in places:
            places = [known.find(value) for value in ids]
        if None in places:
            name = field.removesuffix('_id')
            raise self._wrong(places.index(None), field, f'no {name} of the file has this id (they have '
                              f'{shown(list(known.places))}): add the {name} or remove the annotation')
        return np.array(places, np.int64)

    def _flags(self, field: str, values: list) -> np.ndarray:
        meaning = {value: flag(value) for value in set(values)}
        if None in meaning.values():
            raise self._wrong(next(i for i, value in enumerate(values) if meaning[value] is None), field)
        return np.array([meaning[value] for value in values], np.bool_)

    def _areas(self, values: list) -> np.ndarray:
        """NaN where there is none."""
        try:
            areas = np.array(values, np.float64)
        except ValueError:
            areas = np.full(len(values), np.nan)
        for i in np.flatnonzero(~np.isfinite(areas)):
            area = number(values[i])
            if area is None:
                raise self._wrong(int(i), 'area')
            areas[i] = area
        return areas

    def _boxes(self, values: list) -> np.ndarray:
        boxes = np.fromiter(chain.from_iterable(values), np.float64, 4 * len(values)).reshape(-1, 4)
        wrong = (boxes[:, 2:] < 0).any(axis=1) | (np.abs(boxes) > FARTHEST).any(axis=1)
        if not wrong.any():
            return boxes
        i = int(np.argmax(wrong))
        fault = 'is too far outside' if boxes[i, 2:].min() >= 0 else \
            f'has a negative {"width" if boxes[i, 2] < 0 else "height"}'
        raise self._wrong(i, 'bbox', f'it {fault}: COCO boxes are x, y, width, height in pixels; correct or remove it')
