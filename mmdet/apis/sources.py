"""From what a user names to the pictures to detect on: files, folders, globs, lists, videos, cameras, arrays."""
import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.datasets.picture_file import PICTURE_SUFFIXES
from mmdet.errors import MissingFileError, UserError

from .image_input import is_one_image
from .video import VIDEO_SUFFIXES, Video


class Picture(NamedTuple):
    """A picture to detect on."""
    name: str                   # its path or URL; VIDEO/000012.jpg of a video's frame; array://00000000.jpg
    image: Any                  # its path or URL, what as_image takes, or the error that is met there
    video: Video | None = None  # that it is a frame of


def find_pictures(inputs: Any, leave_out: str | Path | None = None) -> Iterable:
    """Paths and URLs as text, Videos, and what else as_image takes.

    Args:
        inputs: one of these, or a collection or generator of them: an image as as_image takes it; a folder, with those
            in it; a pattern such as 'a/**/*.jpg'; a text file of one path a line; a video file; the number of a camera.
        leave_out: a folder whose pictures are not taken, such as that of the results.
    """
    avoided = None if leave_out is None else os.path.abspath(leave_out)
    if is_one_image(inputs):
        return list(_expand(inputs, avoided))
    found = (picture for item in inputs for picture in _expand(item, avoided))
    return list(found) if isinstance(inputs, Collection) else found


def count(found: Iterable) -> int | None:
    """Pictures and frames in what find_pictures found; None where that is not known."""
    if not isinstance(found, Sized):
        return None
    counts = [item.num_frames if isinstance(item, Video) else 1 for item in found]  # type: ignore[attr-defined]
    return sum(counts) if all(counts) else None


def pictures(found: Iterable, numbers: Iterator[int]) -> Iterator[Picture]:
    """Each picture, and each frame of each video, with its name; arrays are named by the next of `numbers`."""
    for item in found:
        if isinstance(item, Video):
            try:
                for number, frame in enumerate(item):
                    yield Picture(f'{item.name}/{number:06d}.jpg', frame, item)
            except UserError as error:  # as of a picture, it shows when the picture's turn comes
                yield Picture(item.name, error, item)
        elif isinstance(item, str):
            yield Picture(item, item)
        else:
            yield Picture(f'array://{next(numbers):08d}.jpg', item)


def _expand(item: Any, avoided: str | None) -> Iterator:
    if isinstance(item, int):
        yield Video(item)
    elif not isinstance(item, (str, os.PathLike)):
        yield item
    else:
        yield from _files(os.fsdecode(item), avoided)


def _files(path: str, avoided: str | None) -> Iterator[str | Video]:
    suffix = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        files = list(_walk(path, avoided))
        if not files:
            raise MissingFileError(f'folder {path} holds no image ({", ".join(sorted(PICTURE_SUFFIXES))}) and no video '
                                   f'({", ".join(sorted(VIDEO_SUFFIXES))})')
        for file in files:
            yield from _files(file, avoided)
    elif glob.has_magic(path) and '://' not in path and not os.path.exists(path):
        matches = [match for match in sorted(glob.glob(path, recursive=True)) if _is_wanted(match)]
        if not matches:
            raise MissingFileError(f'no picture or video fits the pattern {path}')
        for match in matches:
            yield from _files(match, avoided)
    elif suffix in VIDEO_SUFFIXES or path.startswith(('rtsp://', 'rtmp://')):
        yield Video(path)
    elif suffix == '.txt' and os.path.isfile(path):
        yield from _listed(path, avoided)
    elif path.isdigit() and not os.path.exists(path):
        yield Video(int(path))
    else:
        yield path


def _walk(folder: str, avoided: str | None) -> Iterator[str]:
    """Pictures and videos in a folder and those in it, in order of their names."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders
                            if not name.startswith('.') and os.path.abspath(os.path.join(here, name)) != avoided)
        yield from (os.path.join(here, name) for name in sorted(files) if _is_wanted(name))


def _is_wanted(name: str) -> bool:
    # Names with a dot first are notes of a system beside an image, as ._x.png beside x.png by macOS.
    suffix = os.path.splitext(name)[1].lower()
    return suffix in {*PICTURE_SUFFIXES, *VIDEO_SUFFIXES} and not os.path.basename(name).startswith('.')


def _listed(path: str, avoided: str | None) -> Iterator[str | Video]:
    """A relative path of a list is meant from here or, where nothing is there, from the list's folder."""
    with open(path, encoding='utf-8', errors='surrogateescape') as file:
        for number, line in enumerate(file, 1):
            name = line.strip()
            if name == path:
                raise UserError(f'{path}, line {number}: the list names itself')
            if name and not name.startswith('#'):
                beside = os.path.join(os.path.dirname(path), name)
                yield from _files(beside if not os.path.exists(name) and os.path.exists(beside) else name, avoided)
