"""Plain pickles that hold tensors, such as mmdetection's files of predictions, without running code from them."""
import io
import pickle
from pathlib import Path
from typing import Any

from .torch_file import NAMES, Stored, load_legacy
from .unpickler import MAX_VALUES, Unpickler


def stored(data: Any) -> Stored:
    """torch.storage._load_from_bytes: a storage lies in a pickle as a small file of torch.save, of the older format."""
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError('a storage that is no bytes')
    value = load_legacy(io.BytesIO(data))
    if type(value) is not Stored:
        raise pickle.UnpicklingError('bytes of something other than a storage')
    return value


def load_tensor_pickle(path: Path) -> Any:
    """What a pickle of plain data, arrays and tensors holds, on the CPU. Raises UnpicklingError or RuntimeError."""
    data = path.read_bytes()
    unpickler = Unpickler(io.BytesIO(data), {**NAMES, 'torch.storage._load_from_bytes': stored})
    unpickler.max_values = max(MAX_VALUES, 10 * len(data))  # masks by the million; those of a list are met often
    return unpickler.load()
