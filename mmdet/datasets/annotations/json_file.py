"""An annotation file as three lists of entries that are not decoded yet; what is no COCO file is told by its kind."""
import gzip
import json
import math
import re
import zlib
from typing import NamedTuple

import msgspec
from mmengine import fileio
from msgspec import UNSET, Raw, UnsetType

from mmdet.errors import MissingFileError, UserError

COCO = 'What is needed is COCO format, one JSON object {"images": [...], "annotations": [...], "categories": [...]}'


class Entries(NamedTuple):
    """Every entry of the three lists as JSON text, and whether the file has the list `annotations` at all."""
    images: list[Raw]
    annotations: list[Raw]
    categories: list[Raw]
    complete: bool


class _File(msgspec.Struct):
    images: list[Raw] | UnsetType = UNSET
    annotations: list[Raw] | UnsetType = UNSET
    categories: list[Raw] | UnsetType = UNSET


def read_entries(path: str, backend_args: dict | None) -> Entries:
    """Read the file; UserError where it is not there or no COCO JSON. Gzip and a byte order mark are no obstacle."""
    try:
        file = _decode(_read(path, backend_args), path)
    except RecursionError:
        raise UserError(f'annotation file {path} nests its lists or objects too deep. {COCO}.') from None
    missing = [name for name in file.__struct_fields__ if getattr(file, name) is UNSET]
    if missing not in ([], ['annotations']):
        raise UserError(f'annotation file {path} is no COCO instances file: it has no list {missing}. {COCO}.')
    return Entries(file.images or [], file.annotations or [], file.categories or [], complete=not missing)


def _read(path: str, backend_args: dict | None) -> bytes | memoryview:
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise MissingFileError(f'annotation file {path or repr(path)} does not exist. Set ann_file, and data_root if '
                               'ann_file is relative, to where your COCO-format annotations are.') from None
    except IsADirectoryError:
        raise UserError(f'annotation file {path} is a folder: ann_file must name the JSON file') from None
    if data.startswith(b'\x1f\x8b'):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(f'annotation file {path} is broken or cut short (gzip: {error}): '
                            'download or write it again') from None
    return memoryview(data)[3:] if data.startswith(b'\xef\xbb\xbf') else data


def _decode(data: bytes | memoryview, path: str) -> _File:
    try:
        return msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError as error:
        raise _other_json(data, path, error) from None
    except msgspec.DecodeError:
        pass
    # Slower, but it knows the line of a mistake, and the NaN that Python writes. Numbers that are none become text,
    # which is an error where a number is needed and harmless elsewhere.
    try:
        parsed = json.loads(bytes(data).decode(), parse_constant=str, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise UserError(f'annotation file {path}{_kind(data) or " is not UTF-8"} (byte {error.start}): write it as '
                        'UTF-8') from None
    except ValueError as error:
        kind = _kind(data)
        if kind:
            raise UserError(f'annotation file {path}{kind}. {COCO}.') from None
        raise UserError(f'annotation file {path} is broken or cut short ({error}): '
                        'download or write it again') from None
    try:
        return msgspec.json.decode(json.dumps(parsed, ensure_ascii=False).encode(errors='replace'), type=_File)
    except msgspec.ValidationError as error:
        raise _other_json(data, path, error) from None


def _finite(text: str) -> float | str:
    return float(text) if math.isfinite(float(text)) else text


def _kind(data: bytes | memoryview) -> str:
    """What a file that is no JSON is, as ' is ...'; empty where that is not known."""
    start = bytes(data[:400])
    if not start.strip():
        return ' is empty'
    if b'\0' in start[:4]:
        return ' is UTF-16 or UTF-32 text, or a binary file'
    if start.startswith((b'\xff\xfe', b'\xfe\xff')):
        return ' is UTF-16 text'
    if start.startswith(b'version https://git-lfs'):
        return ' is a pointer of Git LFS: fetch the file itself with git lfs pull'
    if start.startswith(b'<<<<<<< '):
        return ' has conflict marks of Git: choose one of the versions'
    if start.lstrip().startswith(b'<'):
        return ' is XML or HTML, perhaps of Pascal VOC'
    if start.startswith((b'PK', b'BZh', b'\xfd7zXZ', b'7z', b'\x28\xb5\x2f\xfd')):
        return ' is an archive: unpack it'
    if re.match(rb'\s*(train|val|path|names|nc) *:', start):
        return ' is YAML, perhaps of YOLO'
    if re.match(rb'\s*\d+([ \t]+-?\d[\d.eE+-]*){4,}\s', start + b'\n'):
        return ' is a list of numbers, perhaps of YOLO'
    return ''


def _other_json(data: bytes | memoryview, path: str, error: msgspec.ValidationError) -> UserError:
    """What to say of JSON whose outermost parts are not COCO's."""
    at = re.search(r'at `\$\.(\w+)`', str(error))
    if at:
        return UserError(f'{path}: {at[1]} must be a list ({str(error).partition(" - ")[0]}). {COCO}.')
    if _kind(data):
        return UserError(f'annotation file {path}{_kind(data)}. {COCO}.')
    start = bytes(data[:4000])
    kind = 'a list' if start.lstrip().startswith(b'[') else 'a single value'
    if b'"score"' in start and b'"category_id"' in start:
        kind = 'a list of detections, a result file'
    return UserError(f'annotation file {path} is no COCO instances file but {kind}; it has no annotations, images and '
                     f'categories. {COCO}.')
