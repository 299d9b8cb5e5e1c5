"""A folder that is written whole or not at all."""
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmdet.errors import UserError

from .records import Collection, Picture


def refuse_existing(out: Path, force: bool, sources: Sequence[Path]) -> None:
    """Raise ValueError where `out` is there and may not be replaced, or is one of the sources or holds one."""
    for source in sources:
        if out.resolve() in (source.resolve(), *source.resolve().parents):
            raise UserError(f'{out} is, or holds, what is read: {source}. Choose another name')
    if out.exists() and not force and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f'{out} exists already: remove it, choose another name, or give --force to replace it')


class Output:
    """Files below `out`, which are put there together by `finish`."""

    def __init__(self, collection: Collection, out: Path):
        self.collection, self.out = collection, out
        self.folder = collection.folder()
        out.parent.mkdir(parents=True, exist_ok=True)
        self._made = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
        self._made.chmod(0o755)
        self._lost: Counter[str] = Counter()
        self._missing: list[Path] = []
        twice = Counter(picture.path.stem for picture in collection.pictures)
        self._twice = {stem for stem, number in twice.items() if number > 1}

    def name(self, picture: Picture) -> str:
        """The picture's path below the folder of all pictures."""
        path = picture.path
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name

    def flat_name(self, picture: Picture) -> str:
        """A name without folders; those of the picture are put before it where it is not the only one of its name."""
        return self.name(picture).replace('/', '_') if picture.path.stem in self._twice else picture.path.name

    def splits(self, otherwise: str) -> dict[str, list[Picture]]:
        """The pictures of each split; those without one are of the split `otherwise`."""
        splits = defaultdict(list)
        for picture in self.collection.pictures:
            splits[picture.split or otherwise].append(picture)
        return splits

    def text(self, name: str, text: str) -> None:
        path = self._made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def picture(self, picture: Picture, name: str) -> None:
        """Copy a picture."""
        if not picture.path.exists():
            self._missing.append(picture.path)
            return
        path = self._made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(picture.path, path)

    def lose(self, what: str) -> None:
        self._lost[what] += 1

    def finish(self) -> None:
        """Put all in place of what has the same names in `out`, and remark what the format cannot hold."""
        self.out.mkdir(exist_ok=True)
        for made in sorted(self._made.iterdir()):
            old = self.out / made.name
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            os.replace(made, old)
        self._made.rmdir()
        self.collection.remarks += [f'left out, because the format does not hold them: {number} {what}'
                                    for what, number in self._lost.items()]
        if self._missing:
            self.collection.remarks.append(f'{len(self._missing)} pictures were not found and not copied, such as '
                                           f'{self._missing[0]}: --images names their folder')
