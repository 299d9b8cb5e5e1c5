"""One file of weights, of any kind that is known, without ever running code from it."""
import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmdet.errors import UserError

from .torch_file import is_torch_file, load_torch_file
from .unpickler import Refused, Unpickler

# The protocol, or in the oldest protocols a dict or something else in parentheses or of a module.
PICKLE_STARTS = (b'\x80', b'}', b']', b'(', b'c')


def read_file(path: Path) -> dict:
    """The dict that a file of torch.save, of safetensors, or a pickle of NumPy arrays holds, under its own names.

    Raises ValueError: it is damaged, or holds something other than tensors, arrays and plain data, or no dict.
    """
    with open(path, 'rb') as file:
        head = file.read(16)
    if head == b'version https://':
        raise UserError(f'{path} is a pointer of Git LFS: fetch the file itself with git lfs pull')
    try:
        if is_torch_file(head):
            checkpoint = load_torch_file(path)
        elif head[8:9] == b'{':
            checkpoint = _read_safetensors(path)
        elif not head.startswith(PICKLE_STARTS):
            raise pickle.UnpicklingError(f'it begins with {head[:8]!r}')
        else:
            checkpoint = Unpickler(io.BytesIO(path.read_bytes())).load()
    except Refused as error:
        raise UserError(
            f'{path} holds an object of type {error}. Only tensors, arrays and plain data are read, because building '
            'other objects can run code. If you trust the file, save its "state_dict" alone where that type is known.'
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile, SafetensorError) as error:
        reason = str(error).partition('\n')[0]
        raise UserError(f'{path} is no PyTorch checkpoint, no safetensors and no pickle of arrays, or is damaged: '
                        f'{reason}. Fetch or save it again') from None
    if not isinstance(checkpoint, dict):
        raise UserError(f'{path} holds a {type(checkpoint).__name__}, not the dict of a checkpoint')
    if not isinstance(checkpoint.get('meta'), dict | None):
        raise UserError(f'{path}: meta is a {type(checkpoint["meta"]).__name__}, not a dict')
    if checkpoint.get('meta', 0) is None:
        del checkpoint['meta']
    return checkpoint


def _read_safetensors(path: Path) -> dict:
    with safe_open(path, 'pt') as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        text = (file.metadata() or {}).get('meta', '{}')
    try:
        return dict(state_dict=weights, meta=json.loads(text))
    except (json.JSONDecodeError, RecursionError):
        raise UserError(f'{path}: the text `meta` among its metadata is no JSON') from None


def write_file(path: Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write weights by torch.save, or by safetensors where the name ends in .safetensors; meta is JSON there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.safetensors':
        data = save({name: value.contiguous() for name, value in weights.items()},
                    {'meta': json.dumps(meta, default=str)})
        path.write_bytes(data)  # save_file would let nobody else read the file
    else:
        with open(path, 'wb') as file:  # by its path the zip would hold the file's name
            torch.save(dict(state_dict=weights, meta=meta), file)
