"""Results as JSON lines, a file of each process: appended picture by picture, and read again by a run that goes on."""
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .detected import Record

_START = '{"file_name": '


class Line(NamedTuple):
    """Where a picture's line stands."""
    path: Path
    offset: int
    name: str
    failed: bool


class Shards:
    """FOLDER/00000.jsonl and so on, one file a process. A line is an object of file_name and of height, width, labels,
    scores, bboxes and masks, or of error.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def clear(self) -> None:
        for path in self.folder.glob('*.jsonl'):
            path.unlink()

    def lines(self) -> dict[str, Line]:
        """The last line of each picture, by its name. A line that a killed run has not ended does not count."""
        return {line.name: line for path in sorted(self.folder.glob('*.jsonl')) for line in _lines(path)}

    def records(self, lines: list[Line]) -> Iterator[Record]:
        for line in lines:
            with open(line.path, 'rb') as file:
                file.seek(line.offset)
                fields = json.loads(file.readline())
            name, height, width = (fields.pop(key) for key in ('file_name', 'height', 'width'))
            yield Record(name, height, width, fields, name)

    def open(self, rank: int) -> 'Shard':
        return Shard(self.folder / f'{rank:05d}.jsonl')


class Shard:
    """The file that one process appends to."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.truncate(path, max((line.offset + _length(line) for line in _lines(path)), default=0))
        self.file = open(path, 'a', encoding='utf-8', buffering=1)  # a line is on its way when it is whole

    def write(self, record: Record) -> None:
        self._write(dict(file_name=record.name, height=record.height, width=record.width, **record.prediction))

    def write_error(self, name: str, error: str) -> None:
        self._write(dict(file_name=name, error=error))

    def _write(self, fields: dict) -> None:
        self.file.write(json.dumps(fields) + '\n')

    def close(self) -> None:
        self.file.close()


def _lines(path: Path) -> Iterator[Line]:
    decoder, offset = json.JSONDecoder(), 0
    with open(path, 'rb') as file:
        for line in file:
            if not line.endswith(b'\n'):
                return
            text = line.decode()
            name, end = decoder.raw_decode(text, len(_START))
            yield Line(path, offset, name, text.startswith(', "error"', end))
            offset += len(line)


def _length(line: Line) -> int:
    with open(line.path, 'rb') as file:
        file.seek(line.offset)
        return len(file.readline())
