"""Reads PyTorch checkpoints without ever running code from the file."""
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import torch

from .source import local_file


class _Skipped:
    """Stands for an object of a training log that nobody here needs."""

    def __setstate__(self, state):
        pass


def _skip(*args):
    return None


def _numpy_classes():
    """What a pickled NumPy array or scalar names, by its path in NumPy 1 and 2."""
    classes = {f'numpy.dtypes.{type(np.dtype(code)).__name__}': type(np.dtype(code)) for code in '?bBhHiIlLqQefdSU'}
    classes.update({'numpy.ndarray': np.ndarray, 'numpy.dtype': np.dtype})
    rebuild = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    for package in ('numpy.core', 'numpy._core'):
        classes[f'{package}.multiarray._reconstruct'] = rebuild
        classes[f'{package}.multiarray.scalar'] = scalar
    return classes


# Beside tensors and plain data a file may name these and nothing else. The logs in mmengine's checkpoints are skipped
# unless someone who knows their class puts it here.
SAFE_CLASSES = {
    **_numpy_classes(),
    'mmengine.logging.history_buffer.HistoryBuffer': _Skipped,
    'builtins.getattr': _skip,
}


def read_checkpoint(source: str | Path, map_location='cpu') -> dict:
    """Read a checkpoint.

    source: a path, an http(s) URL, torchvision://resnet50 or open-mmlab://detectron2/resnet50_caffe. Downloads are kept
    in torch's cache folder ($TORCH_HOME, else ~/.cache/torch, hub/checkpoints).
    Raises FileNotFoundError when there is no such file, ValueError when it is damaged, holds something other than
    tensors and plain data, or holds no dict.
    """
    path = local_file(source)
    try:
        with torch.serialization.safe_globals([(cls, name) for name, cls in SAFE_CLASSES.items()]):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL (\S+)', str(error))
        if named is None:
            raise ValueError(f'{path} is no PyTorch checkpoint, or is damaged') from None
        raise ValueError(
            f'{path} holds an object of type {named[1]}. Only tensors and plain data are read, because building other '
            'objects can run code. If you trust the file, save its "state_dict" alone where that type is known.'
        ) from None
    except (RuntimeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition('\n')[0]
        raise ValueError(f'{path} is no PyTorch checkpoint, or is cut short: {reason}') from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path} holds a {type(checkpoint).__name__}, not the dict of a checkpoint')
    return checkpoint
