"""What is odd in a data set."""
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator

from mmdet.errors import UserError
from mmdet.progress import progress

from ..classes import nearest_name
from ..image_file import decode_image
from .records import Collection, Object, Picture

SHOWN = 5
FEW = 10  # objects, less than which are too few to learn a class


def odd_things(collection: Collection) -> dict[str, list[str]]:
    """For each kind of what is odd its cases. Every picture is decoded."""
    found: dict[str, list[str]] = defaultdict(list)
    found['entries that cannot be used'] += collection.broken
    same: dict[str, Picture] = {}
    for picture in progress(collection.pictures, 'checking'):
        for kind, case in _of_picture(picture, same):
            found[kind].append(case)
        for item in picture.objects:
            for kind in _of_box(item, picture):
                found[kind].append(f'{picture.path} ({_shown(item)})')
        counts = Counter((item.name, item.box, str(item.mask)) for item in picture.objects)
        found['objects that stand there more than once'] += [
            f'{picture.path} ({name} {", ".join(f"{side:g}" for side in box)}, {number} times)'
            for (name, box, _), number in counts.items() if number > 1]
    objects = Counter(item.name for picture in collection.pictures for item in picture.objects)
    found[f'classes of less than {FEW} objects'] += [f'{name} ({objects[name]})' for name in collection.classes
                                                     if objects[name] < FEW]
    for i, name in enumerate(collection.classes):
        near = nearest_name(name, collection.classes[:i])
        if near:
            found['classes whose names are almost the same'].append(
                f'{name} ({objects[name]}), {near} ({objects[near]})')
    return {kind: cases for kind, cases in found.items() if cases}


def report(collection: Collection, odd: dict[str, list[str]]) -> str:
    """The remarks, the classes, and what is odd with a few cases of each kind."""
    objects = Counter((item.name, picture.split) for picture in collection.pictures for item in picture.objects)
    splits = sorted({picture.split for picture in collection.pictures}, key=('', 'train', 'val', 'test').index)
    lines = list(collection.remarks)
    for name in collection.classes:
        counts = [f'{split or "objects"} {objects[name, split]}' for split in splits]
        lines.append(f'  {name}: {", ".join(counts)}')
    for kind, cases in odd.items():
        lines.append(f'{len(cases)} {kind}:')
        lines += [f'  {case}' for case in cases[:SHOWN]] + ['  ...'] * (len(cases) > SHOWN)
    return '\n'.join(lines if odd else [*lines, 'nothing odd was found'])


def _of_picture(picture: Picture, same: dict[str, Picture]) -> Iterator[tuple[str, str]]:
    if not picture.objects:
        yield 'pictures without objects', str(picture.path)
    if not picture.path.exists():
        yield 'pictures that are missing', str(picture.path)
        return
    data = picture.path.read_bytes()
    try:
        decode_image(data, str(picture.path))
    except UserError as error:
        yield 'pictures that cannot be read', str(error)
    first = same.setdefault(hashlib.sha256(data).hexdigest(), picture)
    if first is not picture:
        places = f' ({first.split} and {picture.split})' if first.split != picture.split else ''
        which = 'one of another split' if places else 'another'
        yield f'pictures that are the same as {which}', f'{picture.path} = {first.path}{places}'


def _of_box(item: Object, picture: Picture) -> Iterator[str]:
    x, y, width, height = item.box
    if min(width, height) <= 0:
        yield 'boxes without width or height'
    elif min(width, height) < 1:
        yield 'boxes less than a pixel wide or high'
    if x >= picture.width or y >= picture.height or x + width <= 0 or y + height <= 0:
        yield 'boxes outside of their picture'
    elif min(x, y) < -1 or x + width > picture.width + 1 or y + height > picture.height + 1:
        yield 'boxes that leave their picture by more than a pixel'


def _shown(item: Object) -> str:
    return f'{item.name} {", ".join(f"{side:g}" for side in item.box)}'
