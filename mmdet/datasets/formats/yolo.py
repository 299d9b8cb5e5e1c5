"""YOLO: a text file a picture, a line an object, numbers as shares of the picture's width and height."""
import math
import os
import re
from pathlib import Path

import yaml

from mmdet.errors import MissingFileError, UserError
from mmdet.progress import progress

from ..picture_file import is_picture, picture_size
from .options import Options
from .output import Output
from .records import Collection, Mask, Object, Picture, box_of, outlines
from .tree import Tree, read_lines, split_of

LINE = re.compile(rb'\s*\d+(\.0*)?([ \t]+[-+]?\d*\.?\d+([eE][-+]?\d+)?){4,}\s*(\n|$)')
SPLITS = ('train', 'val', 'test')
FARTHEST = 2.0  # shares of a side; beyond, the numbers are no shares


def recognizes(tree: Tree) -> bool:
    labels = [path for path in tree.ending('.txt') if path.stat().st_size][:50]
    return _data_yaml(tree) is not None or any(LINE.match(path.read_bytes()[:2000]) for path in labels)


def read(tree: Tree, options: Options) -> Collection:
    """Pictures without a label file are background. Lines are boxes (5 numbers, with a score 6) or polygons."""
    found = Collection()
    path = _data_yaml(tree)
    content = _yaml(path) if path else {}
    found.classes = _names(tree, content, path, options)
    listed = _listed(tree, content, path) if path else []
    known = dict.fromkeys(picture for picture, _ in listed)
    if len(known) < len(listed):
        found.remarks.append(f'{len(listed) - len(known)} pictures are in several splits: they count for the first')
    splits = dict(reversed(listed))
    keypoints = content.get('kpt_shape')
    if keypoints is not None and not (isinstance(keypoints, list) and all(type(n) is int for n in keypoints)):
        raise UserError(f'{path}: kpt_shape is {keypoints!r:.60}; it must be two numbers, such as [17, 3]')
    for picture in progress(known or tree.pictures, 'reading'):
        with found.collect():
            height, width, _ = picture_size(picture)
            lines = _label_file(picture)
            objects = _read_lines(lines, height, width, found, keypoints) if lines else []
            found.pictures.append(Picture(picture, height, width, objects,
                                          splits.get(picture) or split_of(picture, tree.root)))
    return found


def write(collection: Collection, out: Path, options: Options) -> None:
    """images/SPLIT, labels/SPLIT and data.yaml in the folder `out`."""
    output = Output(collection, out)
    numbers = {name: i for i, name in enumerate(collection.classes)}
    splits = output.splits('train')
    for split, pictures in splits.items():
        for picture in pictures:
            name = output.flat_name(picture)
            lines = []
            for item in picture.objects:
                if item.crowd:
                    output.lose('crowds and difficult objects')
                    continue
                x, y, width, height = item.box
                polygons = outlines(item.mask) if item.mask else []
                points = _joined(polygons) if polygons else [x + width / 2, y + height / 2, width, height]
                sides = (picture.width, picture.height) * (len(points) // 2)
                lines.append(' '.join([str(numbers[item.name]),
                                       *(_short(value / side) for value, side in zip(points, sides, strict=True))]))
            output.text(f'labels/{split}/{Path(name).stem}.txt', ''.join(f'{line}\n' for line in lines))
            output.picture(picture, f'images/{split}/{name}')
    data: dict = {split: f'images/{split}' for split in SPLITS if split in splits}
    output.text('data.yaml', yaml.safe_dump({**data, 'names': dict(enumerate(collection.classes))}, sort_keys=False,
                                            allow_unicode=True))
    output.finish()


def _data_yaml(tree: Tree) -> Path | None:
    for path in sorted(tree.ending('.yaml', '.yml'), key=lambda path: len(path.parts)):
        if re.search(rb'^\s*["\']?names["\']?\s*:', path.read_bytes(), re.MULTILINE):
            return path
    return None


def _yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f'{path} is no YAML: {error}') from None
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__}; it must have keys such as names, train and val')
    return content


def _names(tree: Tree, content: dict, path: Path | None, options: Options) -> list[str]:
    names = content.get('names')
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise UserError(f'{path}: the keys of names are {list(names)}; they must be 0 to {len(names) - 1}')
        names = [names[key] for key in sorted(names, key=int)]
    if names is None:
        lists = [file for file in tree.files if file.name == 'classes.txt' or file.suffix == '.names']
        names = options.classes or ([line.strip() for line in read_lines(lists[0])
                                     if line.strip()] if lists else None)
    if names is None:
        raise UserError(f'{tree.source} does not name its classes: give --classes, or a data.yaml with names')
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        raise UserError(f'{path or tree.source}: names are {names!r:.80}; they must be a list of names, each once')
    return [str(name) for name in names]


def _listed(tree: Tree, content: dict, path: Path) -> list[tuple[Path, str]]:
    """The pictures that the entries train, val and test of data.yaml name, with their split."""
    base = path.parent / str(content.get('path') or '')
    if not base.is_dir():
        base = path.parent
    listed = []
    for split in SPLITS:
        entries = content.get(split) or (content.get('valid') if split == 'val' else None) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            places = [folder / name for name in (str(entry), re.sub(r'^(\.\./)+', '', str(entry)))
                      for folder in (base, path.parent)]
            place = next((place for place in places if place.exists()), None)
            if place is None:
                if split == 'test':
                    continue  # which many programs write, and leave the folder out
                raise MissingFileError(f'{path}: {split} is {entry}, but {places[0]} does not exist: correct it')
            listed += [(Path(picture), split) for picture in _pictures_of(Path(os.path.abspath(place)))]
    return listed


def _pictures_of(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(file for file in place.rglob('*') if is_picture(file))
    lines = read_lines(place)
    return [Path(os.path.abspath(place.parent / line.strip())) for line in lines if line.strip()]


def _label_file(picture: Path) -> Path | None:
    """Beside the picture, or below `labels` where that is below `images`."""
    at = [i for i, part in enumerate(picture.parts) if part in ('images', 'JPEGImages')]
    places = [Path(*picture.parts[:i], 'labels', *picture.parts[i + 1:]) for i in reversed(at)] + [picture]
    return next((file for place in places if (file := place.with_suffix('.txt')).is_file()), None)


def _read_lines(path: Path, height: int, width: int, found: Collection, keypoints: list | None) -> list[Object]:
    objects = []
    for i, line in enumerate(read_lines(path), 1):
        if line.strip():
            with found.collect():
                objects.append(_read_line(line.split(), f'{path}, line {i}', height, width, found.classes, keypoints))
    return objects


def _read_line(words: list[str], place: str, height: int, width: int, classes: list[str],
               keypoints: list | None) -> Object:
    try:
        label, *shares = map(float, words)
    except ValueError:
        raise UserError(f'{place} holds {" ".join(words)[:60]!r}: it must be numbers, class x y width height') from None
    if label not in range(len(classes)):
        raise UserError(f'{place} has the class {words[0]}; known are 0 to {len(classes) - 1}')
    if not all(abs(share) <= FARTHEST for share in shares):
        raise UserError(f'{place}: numbers must be shares of the width and height, 0 to 1; are these pixels?')
    name, sides = classes[int(label)], (width, height)
    points = [_rounded(share, word, sides[i % 2])
              for i, (share, word) in enumerate(zip(shares, words[1:], strict=True))]
    if len(shares) in (4, 5) or keypoints and len(shares) == 4 + math.prod(keypoints):
        if min(shares[2:4]) < 0:
            raise UserError(f'{place} has a negative width or height')
        x, y = (_rounded(shares[i] - shares[i + 2] / 2, words[i + 1], sides[i]) for i in (0, 1))
        notes = dict(score=shares[4]) if len(shares) == 5 else {}
        return Object(name, (x, y, points[2], points[3]), notes=notes)
    if len(shares) >= 6 and len(shares) % 2 == 0:
        return Object(name, box_of([points]), [points])
    raise UserError(f'{place} has {len(words)} numbers: a box has 5 (class x y width height), a polygon 7, 9, 11, ...')


def _rounded(share: float, word: str, side: int) -> float:
    """Pixels, to as many digits as the text of the number holds."""
    decimals = len(word.partition('.')[2]) if 'e' not in word.lower() else 12
    return round(share * side, min(max(int(-math.log10(1.5 * side * 10.0 ** -decimals)), 0), 9))


def _short(share: float) -> str:
    return f'{share:.12f}'.rstrip('0').rstrip('.')


def _joined(polygons: Mask) -> list[float]:
    """Several polygons as one, by lines there and back between their first points."""
    first, *others = polygons
    joined = list(first)
    for other in others:
        joined += [*first[:2], *other, *other[:2]]
    return [*joined, *first[:2]] if others else joined
