"""A table as a file that is mapped into memory."""
import copyreg
import json
import mmap
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mmdet.errors import MissingFileError

from .table import AnnotationTable

FORMAT = b'mmdet annotations 1\n'
ALIGNMENT = 64  # bytes


def save_table(table: AnnotationTable, path: Path) -> None:
    """Write FORMAT, the checksum of all that follows, where each array stands (a line each), and the arrays."""
    places, end = [], 0
    for name, array in table.arrays.items():
        places.append((name, array.dtype.str, array.shape, end))
        end += array.nbytes + -array.nbytes % ALIGNMENT
    parts: list[Any] = [json.dumps(places).encode() + b'\n']
    parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in table.arrays.values()]
    checksum = 0
    with open(path, 'wb') as file:
        file.write(FORMAT + b'%010d\n' % checksum)
        for part in parts:
            padding = bytes(-(file.tell() + len(part)) % ALIGNMENT)
            for piece in (part, padding):
                file.write(piece)
                checksum = zlib.crc32(piece, checksum)
        file.seek(len(FORMAT))
        file.write(b'%010d\n' % checksum)


def load_table(path: Path, check: bool = True) -> AnnotationTable | None:
    """Map a table; None where there is none or it is not whole, as far as `check` says to look."""
    try:
        with open(path, 'rb') as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if mapped.readline() != FORMAT:
            return None
        checksum = int(mapped.readline())
        if check and zlib.crc32(memoryview(mapped)[mapped.tell():]) != checksum:
            return None
        places = json.loads(mapped.readline())
        start = mapped.tell() + -mapped.tell() % ALIGNMENT
        arrays = {name: np.frombuffer(mapped, dtype, int(np.prod(shape)), start + place).reshape(shape)
                  for name, dtype, shape, place in places}
        return AnnotationTable(**arrays, mapped_from=path)
    except (OSError, ValueError, TypeError):
        return None


def _pickled(table: AnnotationTable) -> tuple:
    """What another process needs: the path of a mapped table, else the arrays."""
    if table.mapped_from is not None and table.mapped_from.exists():
        return _mapped_again, (table.mapped_from,)
    return AnnotationTable, tuple(np.array(array) for array in table.arrays.values())


def _mapped_again(path: Path) -> AnnotationTable:
    table = load_table(path, check=False)
    if table is None:
        raise MissingFileError(f'{path}, the annotations that this process shares with others, is gone: start again')
    return table


copyreg.pickle(AnnotationTable, _pickled)  # type: ignore[arg-type]
