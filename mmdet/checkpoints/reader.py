"""Reads checkpoints of every known source without ever running code from the file."""
import io
import pickle
import zipfile
from pathlib import Path

import torch

from mmdet.errors import UserError

from .formats import convert
from .plain_pickle import PlainPickle, Refused
from .source import local_file
from .torch_file import is_torch_file, load_torch_file

# The protocol, or in the oldest protocols a dict or something else in parentheses or of a module.
PICKLE_STARTS = (b'\x80', b'}', b']', b'(', b'c')


def read_checkpoint(source: str | Path, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a checkpoint of ours, mmdetection, Detectron, detectron2, torchvision or timm, told by its content.

    Args:
        source: a path, an http(s) URL, torchvision://resnet50 or open-mmlab://detectron2/resnet50_caffe. Downloads are
            kept in torch's cache folder ($TORCH_HOME, else ~/.cache/torch, hub/checkpoints).
        map_location: where the tensors go, as torch.load takes it.

    Returns:
        The file's dict if its names are mmdetection's already; else dict(state_dict, meta, conversion), where
        `conversion` (Conversion) tells what became of every entry.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds something other than tensors, arrays and plain data, holds no dict, or is of a
            model that cannot be represented here.
    """
    path = local_file(source)
    checkpoint = read_file(path, map_location)
    return convert(checkpoint, str(path))


def read_file(path: Path, map_location: str | torch.device | None = 'cpu') -> dict:
    """The dict that a file of torch.save, or a pickle of NumPy arrays, holds, under its own names."""
    with open(path, 'rb') as file:
        head = file.read(16)
    try:
        if is_torch_file(head):
            checkpoint = load_torch_file(path, map_location)
        elif not head.startswith(PICKLE_STARTS):
            raise pickle.UnpicklingError(f'it begins with {head[:8]!r}')
        else:
            checkpoint = PlainPickle(io.BytesIO(path.read_bytes())).load()
    except Refused as error:
        raise UserError(
            f'{path} holds an object of type {error}. Only tensors, arrays and plain data are read, because building '
            'other objects can run code. If you trust the file, save its "state_dict" alone where that type is known.'
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        reason = str(error).partition('\n')[0]
        raise UserError(f'{path} is no PyTorch checkpoint and no pickle of arrays, or is damaged: {reason}. '
                         'Fetch or save it again') from None
    if not isinstance(checkpoint, dict):
        raise UserError(f'{path} holds a {type(checkpoint).__name__}, not the dict of a checkpoint')
    return checkpoint
