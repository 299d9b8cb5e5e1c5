"""Names for the files with the results of pictures."""
import itertools
import os
from collections.abc import Iterable

DRAWABLE = {'.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp'}  # what a drawing can be saved as


class ResultNames:
    """Gives each picture the name of its result file, relative to the folder of results: no two pictures get one name.

    The name is that of the picture's file. Where others have it too, as many of the folders above it are added as tell
    them apart: cam1/0001.png and cam2/0001.png.

    Args:
        suffix: what takes the place of the picture's suffix; pictures 1.jpg and 1.png get 1.jpg.json and 1.png.json.
            By default the suffix stays, where a drawing can be saved as such.
    """

    def __init__(self, suffix: str | None = None):
        self.suffix = suffix
        self._form = (False, 1)
        self._owner: dict[str, str] = {}  # picture of a name

    def plan(self, paths: Iterable[str]) -> None:
        """Choose names of one form for all these pictures, whatever the order in which they come."""
        pictures = list({_absolute(path): _parts(path) for path in paths}.values())
        self._form = next((form for form in _forms(max(map(len, pictures), default=1))
                           if len({self._named(parts, *form) for parts in pictures}) == len(pictures)), (False, 1))

    def __call__(self, path: str) -> str:
        picture, parts = _absolute(path), _parts(path)
        for form in _forms(max(len(parts), self._form[1])):
            name = self._named(parts, *form)
            if form >= self._form and self._owner.setdefault(name, picture) == picture:
                return name
        stem, suffix = os.path.splitext(name)
        return next(numbered for i in itertools.count(2)
                    if self._owner.setdefault(numbered := f'{stem}_{i}{suffix}', picture) == picture)

    def _named(self, parts: tuple[str, ...], whole: bool, depth: int) -> str:
        """With the last `depth` parts of the path; `whole` keeps the picture's suffix before the one of the result."""
        *folders, file = parts[-depth:]
        stem, suffix = os.path.splitext(file)
        if self.suffix is None:
            file += '.jpg' if whole or suffix.lower() not in DRAWABLE else ''
        else:
            file = (file if whole else stem) + self.suffix
        return '/'.join([*folders, file])


def _absolute(path: str) -> str:
    return path if '://' in path else os.path.abspath(path)


def _parts(path: str) -> tuple[str, ...]:
    """The folders and the file of a path or a URL, without '..'."""
    parts = _absolute(path).rpartition('://')[2].split('/')
    return tuple(part for part in parts if part not in ('', '.', '..')) or ('image',)


def _forms(depth: int) -> list[tuple[bool, int]]:
    """The forms of a name, in the order in which they are tried."""
    return [(whole, parts) for whole in (False, True) for parts in range(1, depth + 1)]
