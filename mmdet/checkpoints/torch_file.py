"""Reads files of torch.save. Before PyTorch sees one, what it names and claims is checked.

torch.load(weights_only=True) runs no code, but it takes the file's word for sizes: storages larger than the file,
arrays of terabytes out of a few bytes.
"""
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mmdet.errors import UserError

from .arrays import NUMPY
from .plain_pickle import Name, PlainPickle, Refused


class _Skipped:
    """Stands for an object of a training log that nobody here needs."""

    def __setstate__(self, state: object) -> None:
        pass


def _skip(*args: object) -> None:
    return None


# Beside tensors and plain data a file may name these and nothing else. The logs in mmengine's checkpoints are skipped
# unless someone who knows their class puts it here.
SAFE_CLASSES: dict[str, Callable] = {
    **NUMPY,
    'mmengine.logging.history_buffer.HistoryBuffer': _Skipped,
    'builtins.getattr': _skip,
}
LEGACY_MAGIC = 0x1950a86a20f9469cfc6c
ZIP_MAGIC = b'PK\x03\x04'
# What tensors and plain data of a checkpoint are made by.
CALLS = {'collections.OrderedDict', 'collections.Counter', 'torch._utils._rebuild_tensor',
         'torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter', 'torch.Size', 'torch.device',
         'torch.nn.parameter.Parameter', 'torch.serialization._get_layout', '_codecs.encode', 'builtins.set',
         'builtins.complex', 'builtins.bytearray'}
ITEM_SIZES = {f'torch.{name}Storage': size for name, size in dict(
    Double=8, Float=4, Half=2, BFloat16=2, Long=8, Int=4, Short=2, Char=1, Byte=1, Bool=1, ComplexFloat=8,
    ComplexDouble=16).items()}
ITEM_SIZES |= {'torch.storage.UntypedStorage': 1, 'torch.UntypedStorage': 1}


class Made:
    """Stands for whatever a call in the file makes."""


class Inventory(PlainPickle):
    """Walks through a pickle of torch.save without building anything: which storages does it claim?

    storages: key -> bytes.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, int] = {}

    def name(self, path: str) -> Name:
        known = path in CALLS or path in SAFE_CLASSES or path in ITEM_SIZES
        if not known and not (path.startswith('torch.') and isinstance(getattr(torch, path[6:], None), torch.dtype)):
            raise Refused(path)
        return Name(path)

    def call(self, path: str, args: tuple) -> Any:
        # Numbers as arguments are sizes of what would be made; only text is content.
        if path == 'builtins.bytearray' and args and not isinstance(args[0], (str, bytes, Made)):
            raise Refused(path)
        if path in ITEM_SIZES:
            raise Refused(path)
        if path in ('collections.OrderedDict', '_codecs.encode'):
            return super().call(path, args)
        return Made()

    new = call

    def build(self, target: Any, state: Any) -> None:
        pass

    def set_items(self, items: list) -> None:
        if not isinstance(self.stack[-1], Made):
            super().set_items(items)

    def persistent(self, key: Any) -> Made:
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != 'storage' or not isinstance(key[1], Name):
            raise UserError('data outside the pickle that is no storage')
        _, kind, name, _, count = key[:5]
        if kind.path not in ITEM_SIZES or not isinstance(name, str) or type(count) is not int or count < 0:
            raise UserError(f'a storage {name!r:.40} of {count!r:.40} values')
        size = count * ITEM_SIZES[kind.path]
        if self.storages.setdefault(name, size) != size:
            raise UserError(f'two sizes of storage {name:.40}')
        return Made()


def is_torch_file(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes) is one of torch.save."""
    return head.startswith(ZIP_MAGIC) or head[2:14] == b'\x8a\x0a' + LEGACY_MAGIC.to_bytes(10, 'little')


def load_torch_file(path: Path, map_location: str | torch.device | None = 'cpu') -> Any:
    """What torch.save wrote. Raises UnpicklingError (Refused for what is no plain data), RuntimeError or BadZipFile."""
    with open(path, 'rb') as file:
        if file.read(4) == ZIP_MAGIC:
            _check_zip(path)
        else:
            file.seek(0)
            _check_legacy(file)
    try:
        with torch.serialization.safe_globals([(cls, name) for name, cls in SAFE_CLASSES.items()]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error.__context__ or error)  # PyTorch puts advice in the place of the reason
        named = re.search(r'GLOBAL (\S+)', reason)
        raise (Refused(named[1]) if named else pickle.UnpicklingError(reason.partition('\n')[0])) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RecursionError) as error:
        raise pickle.UnpicklingError(str(error).partition('\n')[0]) from None


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise zipfile.BadZipFile('two entries of one name')
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise zipfile.BadZipFile('compressed entries, which torch.save never writes')
        listing = [name for name in names if name.endswith('/data.pkl')]
        if len(listing) != 1:
            raise zipfile.BadZipFile('no data.pkl')
        inventory = Inventory(io.BytesIO(archive.read(listing[0])))
    inventory.load()
    folder = listing[0].removesuffix('data.pkl')
    held = {entry.filename: entry.file_size for entry in entries}
    for key, size in inventory.storages.items():
        if held.get(f'{folder}data/{key}') != size:
            raise pickle.UnpicklingError(f'storage {key:.40} claims {size} bytes, the file holds '
                                         f'{held.get(f"{folder}data/{key}", "none")}')


def _check_legacy(file: BinaryIO) -> None:
    content = io.BytesIO(file.read())
    size = len(content.getbuffer())
    inventory = Inventory(content)
    for _ in range(5):  # magic number, protocol, system, content, keys of the storages
        inventory.load()
    if sum(inventory.storages.values()) > size:
        raise pickle.UnpicklingError(f'storages claim {sum(inventory.storages.values())} bytes in a file of {size}')
