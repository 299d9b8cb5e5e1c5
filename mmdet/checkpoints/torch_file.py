"""Reads files of torch.save, both the zips of today and the older format.

torch.load(weights_only=True) runs no code, but it takes the file's word for sizes (storages larger than the file,
arrays of terabytes out of a few bytes) and does not look at the checksum that a zip has of each of its records. Here a
tensor is made when its values are there and unchanged.
"""
import io
import math
import pickle
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from .arrays import shown
from .unpickler import Refused, Unpickler

LEGACY_MAGIC = 0x1950a86a20f9469cfc6c
ZIP_MAGIC = b'PK\x03\x04'


class Skipped:
    """Stands for an object of a training log that nobody here needs."""

    def __setstate__(self, state: object) -> None:
        pass


def skip(*args: object) -> None:
    """Stands for a function whose result nobody here needs."""


# Beside tensors and plain data a file may name these and nothing else. The logs in mmengine's checkpoints are skipped
# unless someone who knows their class puts it here.
SAFE_CLASSES: dict[str, Callable] = {
    'mmengine.logging.history_buffer.HistoryBuffer': Skipped,
    'builtins.getattr': skip,
}


class Stored(NamedTuple):
    """What one storage holds."""
    values: torch.UntypedStorage
    dtype: torch.dtype


def rebuild_tensor(stored: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
    """torch._utils._rebuild_tensor_v2: a view of a storage, which it must not leave."""
    numbers = (offset, *size, *stride)
    if type(stored) is not Stored or len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError('a tensor whose sizes or strides are none')
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    num_values = stored.values.nbytes() // stored.dtype.itemsize
    if math.prod(size) > num_values or (math.prod(size) and last >= num_values):
        raise pickle.UnpicklingError(f'a tensor of shape {shown(size)} has fewer values than its shape says')
    return torch.empty(0, dtype=stored.dtype, device=stored.values.device).set_(stored.values, offset, size, stride)


def first(*args: Any) -> Tensor:
    """torch._utils._rebuild_parameter and torch.nn.Parameter: the tensor."""
    if not isinstance(args[0], Tensor):
        raise pickle.UnpicklingError(f'a parameter that is a {type(args[0]).__name__}')
    return args[0]


def plain_values(kind: type) -> Callable:
    """`kind` of an argument of plain parts: no number, which would be a size, and nothing that is slow to hash."""
    def make(values: Any = ()) -> Any:
        if isinstance(values, (int, float)) or not all(isinstance(part, (str, bytes, int, float)) for part in values):
            raise Refused(f'{kind.__module__}.{kind.__name__} of other than plain values')
        return kind(values)
    return make


NAMES: dict[str, Any] = {
    'torch._utils._rebuild_tensor': rebuild_tensor, 'torch._utils._rebuild_tensor_v2': rebuild_tensor,
    'torch._utils._rebuild_parameter': first, 'torch.nn.parameter.Parameter': first,
    'torch.Size': plain_values(torch.Size), 'torch.device': plain_values(torch.device),
    'torch.serialization._get_layout': skip, 'collections.Counter': plain_values(Counter),
    'builtins.set': plain_values(set), 'builtins.bytearray': plain_values(bytearray),
    'torch.storage.UntypedStorage': torch.uint8, 'torch.UntypedStorage': torch.uint8,
}
NAMES |= {f'torch.{name}Storage': getattr(torch, dtype) for name, dtype in dict(
    Double='float64', Float='float32', Half='float16', BFloat16='bfloat16', Long='int64', Int='int32', Short='int16',
    Char='int8', Byte='uint8', Bool='bool', ComplexFloat='complex64', ComplexDouble='complex128').items()}
NAMES |= {f'torch.{name}': dtype for name, dtype in vars(torch).items() if isinstance(dtype, torch.dtype)}


class TorchUnpickler(Unpickler):
    """A pickle of torch.save. storage: of the name and the number of bytes, its values or UnpicklingError."""

    def __init__(self, file: io.BytesIO, storage: Callable[[str, int], torch.UntypedStorage]):
        super().__init__(file, {**NAMES, **SAFE_CLASSES})
        self.storage = storage

    def persistent_load(self, pid: Any) -> Stored:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != 'storage':
            raise pickle.UnpicklingError('data outside the pickle that is no storage')
        _, dtype, name, _, count = pid[:5]
        if not isinstance(dtype, torch.dtype) or not isinstance(name, str) or type(count) is not int or count < 0:
            raise pickle.UnpicklingError(f'a storage {shown(name)} of {shown(count)} values')
        return Stored(self.storage(name, count * dtype.itemsize), dtype)


def is_torch_file(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes) is one of torch.save."""
    return head.startswith(ZIP_MAGIC) or head[2:14] == b'\x8a\x0a' + LEGACY_MAGIC.to_bytes(10, 'little')


def load_torch_file(path: Path) -> Any:
    """What torch.save wrote, on the CPU.

    Raises UnpicklingError (Refused for what is no plain data), RuntimeError or BadZipFile.
    """
    with open(path, 'rb') as file:
        if file.read(4) != ZIP_MAGIC:
            return load_legacy(file)
        try:
            return load_zip(file)
        except (ValueError, OverflowError, struct.error) as error:  # of the zip's lists, which are read first
            raise zipfile.BadZipFile(f'a damaged zip ({error})'[:200]) from None


def load_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise zipfile.BadZipFile('two entries of one name')
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise zipfile.BadZipFile('compressed entries, which torch.save never writes')
        if sum(entry.file_size for entry in entries.values()) > file.seek(0, io.SEEK_END):
            raise zipfile.BadZipFile('entries that overlap')
        listing = [name for name in entries if name.endswith('/data.pkl')]
        if len(listing) != 1:
            raise zipfile.BadZipFile('no data.pkl')
        folder = listing[0].removesuffix('data.pkl')
        if f'{folder}byteorder' in entries and archive.read(f'{folder}byteorder') != b'little':
            raise zipfile.BadZipFile('values in the byte order of another kind of machine')
        read: dict[str, torch.UntypedStorage] = {}

        def storage(name: str, size: int) -> torch.UntypedStorage:
            record = f'{folder}data/{name}'
            held = entries[record].file_size if record in entries else 'none'
            if held != size:
                raise pickle.UnpicklingError(f'storage {name[:40]} claims {size} bytes, the file holds {held}')
            if name not in read:
                read[name] = filled(archive.read(record), size)  # compares the checksum
            return read[name]
        return TorchUnpickler(io.BytesIO(archive.read(listing[0])), storage).load()


def load_legacy(file: BinaryIO) -> Any:
    file.seek(0)
    content = io.BytesIO(file.read())
    end = len(content.getbuffer())
    made: dict[str, torch.UntypedStorage] = {}

    def storage(name: str, size: int) -> torch.UntypedStorage:
        claimed = size + sum(other.nbytes() for key, other in made.items() if key != name)
        if claimed > end:
            raise pickle.UnpicklingError(f'storages claim {claimed} bytes in a file of {end}')
        if made.setdefault(name, torch.UntypedStorage(size)).nbytes() != size:
            raise pickle.UnpicklingError(f'two sizes of storage {name[:40]}')
        return made[name]

    # magic number, protocol, system, content, keys of the storages
    *_, value, keys = [TorchUnpickler(content, storage).load() for _ in range(5)]
    if not isinstance(keys, list) or set(map(str, keys)) != made.keys():
        raise pickle.UnpicklingError('storages other than those it names')
    for key in keys:
        size = made[key].nbytes()
        content.read(8)  # the number of values once more
        made[key].copy_(filled(content.read(size), size))
    return value


def filled(data: bytes, size: int) -> torch.UntypedStorage:
    """A storage of these bytes."""
    if len(data) != size:
        raise pickle.UnpicklingError(f'a storage of {size} bytes has {len(data)}')
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).untyped_storage() if size else torch.UntypedStorage(0)
