"""What an entry of a COCO file may hold, and the error that names the value which is something else."""
import re
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from mmdet.errors import UserError

Id = int | float | str


class Image(Struct, gc=False):
    id: Id
    height: int | float | str
    width: int | float | str
    file_name: str | UnsetType = UNSET
    coco_url: Any = None  # LVIS v1 has it in place of the name


class Category(Struct, gc=False):
    id: Id
    name: str


class RunLengths(Struct, gc=False):
    size: tuple[int, int]
    counts: str | list[int]


class Annotation(Struct, gc=False):
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    segmentation: list[list[float]] | RunLengths | None = None
    id: Id | None = None
    area: float | str | None = None
    iscrowd: bool | int | float | str | None = None
    ignore: bool | int | float | str | None = None


class UnusualAnnotation(Annotation, gc=False):
    """One whose segmentation is not written as COCO writes it."""
    segmentation: Any = None  # type: ignore[assignment]


MUST_BE = dict(
    id='a number or text', image_id='the id of an entry of "images"', category_id='the id of an entry of "categories"',
    file_name='the path of the picture as text', name='the name of the class as text',
    height='the height of the picture in pixels, a whole number from 1 on',
    width='the width of the picture in pixels, a whole number from 1 on',
    bbox='4 finite numbers x, y, width, height in pixels, without quotes', area='a number of pixels',
    iscrowd='0 or 1', ignore='0 or 1',
    segmentation='polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or a run-length code {"size": [height, width], '
                 '"counts": ...} that covers height * width pixels')

Entry = TypeVar('Entry', Image, Category, Annotation, UnusualAnnotation)


class EntryReader(Generic[Entry]):
    """Decodes the entries of one list of the file `path`."""

    def __init__(self, kind: type[Entry], name: str, path: str):
        self.name, self.path = name, path
        self.decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(kind)

    def __call__(self, raw: Raw, index: int) -> Entry:
        try:
            return self.decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._error(error, raw, index) from None

    def _error(self, error: Exception, raw: Raw, index: int) -> UserError:
        if isinstance(error, UnicodeDecodeError):
            return UserError(f'{self.path}: {self.name}[{index}] is not UTF-8: write the file as UTF-8')
        lacking = re.search(r'missing required field `(\w+)`', str(error))
        field = re.search(r'at `\$\.([^`]+)`', str(error))
        if lacking and not field:
            return self.lacks(index, lacking[1], raw)
        if not field:
            return UserError(f'{self.path}: {self.name}[{index}] is {shown(value_at(raw, ""))}; it must be an object '
                             '{"id": ..., ...}')
        return self.wrong(index, field[1], raw)

    def lacks(self, index: int, field: str, raw: Raw) -> UserError:
        """The error that says that entry `index` has no `field`."""
        return UserError(f'{self.path}: {self.name}[{index}]{label(raw)} has no {field}: add it, {MUST_BE[field]}')

    def wrong(self, index: int, field: str, raw: Raw, why: str = '') -> UserError:
        """The error that says of entry `index` what its `field` is and must be; `why` in place of the latter."""
        name = field.partition('.')[0].partition('[')[0]
        return UserError(f'{self.path}: {self.name}[{index}].{field} is {shown(value_at(raw, field))}{label(raw)}; '
                         + (why or f'{name} must be {MUST_BE[name]}'))


def value_at(raw: Raw, field: str) -> Any:
    """The value in the JSON text `raw` at a path such as 'segmentation[0][3]'."""
    try:
        value = msgspec.json.decode(raw)
        for part in re.findall(r'[^.\[\]]+', field):
            value = value[int(part) if isinstance(value, list) else part]
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, ValueError):
        return raw
    return value


def shown(value: Any) -> str:
    """A value as JSON, in at most 80 characters."""
    text = bytes(value if isinstance(value, Raw) else msgspec.json.encode(value)).decode(errors='replace')
    return text if len(text) <= 80 else text[:77] + '...'


def label(raw: Raw) -> str:
    """' (id 5, image_id 3)', as far as an entry has them."""
    entry = value_at(raw, '')
    known = [f'{name} {shown(entry[name])}' for name in ('id', 'image_id') if isinstance(entry, dict) and name in entry]
    return f' ({", ".join(known)})' if known else ''
