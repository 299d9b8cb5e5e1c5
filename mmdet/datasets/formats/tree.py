"""The files of a source, and which picture an annotation means."""
import functools
import json
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mmdet.errors import MissingFileError, UserError

from ..picture_file import PICTURE_SUFFIXES, is_picture

SPLITS = dict(train='train', training='train', val='val', valid='val', validation='val', test='test', testing='test')


class Tree:
    """A folder, or one file in it, that holds annotations.

    Args:
        source: the folder or file.
        images: where the pictures are, if not there.
    """

    def __init__(self, source: str | Path, images: str | Path | None = None):
        self.source = Path(os.path.abspath(source))
        for path in (self.source, *([Path(images)] if images else [])):
            if not path.exists():
                raise MissingFileError(f'{path} does not exist')
        if self.source.suffix.lower() in ('.zip', '.tar', '.gz', '.7z', '.rar'):
            raise UserError(f'{source} is an archive: unpack it and give its folder')
        self.root = self.source if self.source.is_dir() else self.source.parent
        self.images = Path(os.path.abspath(images)) if images else self.root

    @functools.cached_property
    def files(self) -> list[Path]:
        """All files in order of their names, without hidden ones; the one file where that is the source."""
        return _walk(self.source) if self.source.is_dir() else [self.source]

    @functools.cached_property
    def pictures(self) -> list[Path]:
        if self.images == self.root and self.source.is_dir():
            return [path for path in self.files if is_picture(path)]
        return [path for path in _walk(self.images) if is_picture(path)]

    def ending(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def picture(self, name: str, near: Path) -> Path:
        """The picture that the annotation file `near` calls `name`, with or without folders and suffix.

        Where there is none, the place where it is expected. Raises ValueError where several are meant equally.
        """
        name = unquote(name.rpartition('?d=')[2]) if '?d=' in name else name.replace('\\', '/')
        for folder in (near.parent, self.images):
            if name and (folder / name).is_file() and is_picture(Path(name)):
                return _normal(folder / name)
        last = name.rpartition('/')[2]
        for known in (self._by_name[last], self._by_stem[_stem(last)]):
            if known:
                return _nearest(known, near, name)
        return _normal(near.parent / (name or near.stem))

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped((path.name, path) for path in self.pictures)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped((path.stem, path) for path in self.pictures)


def split_of(path: Path, root: Path) -> str:
    """'train', 'val' or 'test' where a folder below `root`, or a word of the file's name, says so."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-2:]
    for part in reversed(parts):
        for word in re.split(r'[^a-z]+', part.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return ''


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises ValueError that names it."""
    try:
        return path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError:
        raise UserError(f'{path} is no text in UTF-8: write it as UTF-8') from None


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError that names it."""
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is no JSON, or cut short: {error}') from None


def _walk(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != '.' and name != '__MACOSX')
        found += [Path(folder, name) for name in sorted(names) if name[0] != '.']
    return found


def _grouped(pairs: Any) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for name, path in pairs:
        groups[name].append(path)
    return groups


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in PICTURE_SUFFIXES else name


def _nearest(known: list[Path], near: Path, name: str) -> Path:
    """The one of several that shares most folders with `near`, or with what it is called."""
    wanted = {*near.parent.parts, *Path(name).parent.parts}
    ranked = sorted(known, key=lambda path: (-len(wanted & set(path.parent.parts)), len(path.parts)))
    if len(ranked) > 1 and all(len(wanted & set(path.parent.parts)) == len(wanted & set(ranked[0].parent.parts))
                               and len(path.parts) == len(ranked[0].parts) for path in ranked[:2]):
        raise UserError(f'{near} means the picture {name or near.stem}, of which there are several: {ranked[0]} and '
                        f'{ranked[1]}. Give each a name of its own, or convert their folders one by one')
    return ranked[0]


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))
