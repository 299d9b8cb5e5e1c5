"""Works round the faults of mmengine 0.10.7 on today's PyTorch and Python.

Here are those that have no seam to override: `apply()` mends them when mmdet.engine is imported. The others are mended
where they belong, by a class of ours with the same name:

- it sets a CUDA device on machines without one when it starts several processes      -> distributed.py
- AmpOptimWrapper refuses a machine without a GPU                                      -> amp.py
- DDP is given a CUDA device index on CPU; the environment report needs distutils      -> runner.py
- memory is logged with CUDA only                                                      -> log_processor.py
- a checkpoint is written in place, and the previous one deleted before the next exists -> hooks/checkpoint_hook.py
- resuming inside an epoch starts the epoch over, or loads all the data to skip it     -> loops.py
"""
import importlib.metadata
import importlib.util
import pickle
import sys
from pathlib import Path

import mmengine.config.config
import mmengine.hub.hub
import mmengine.utils
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmdet import checkpoints


def apply():
    """Mend mmengine; doing it twice changes nothing."""
    _read_checkpoints_safely()
    _find_packages_without_pkg_resources()


def _read_checkpoints_safely():
    # torch.load reads tensors and plain data only since PyTorch 2.6, and mmengine's checkpoints hold its HistoryBuffer:
    # it cannot read its own. Our reader takes that one class and the four methods its pickle names.
    checkpoints.SAFE_CLASSES['mmengine.logging.history_buffer.HistoryBuffer'] = HistoryBuffer
    checkpoints.SAFE_CLASSES['builtins.getattr'] = _history_statistic
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://'],
        load_from_mmdet, force=True)


def load_from_mmdet(filename, map_location=None):  # mmengine logs the name after 'load_from_'
    return checkpoints.read_checkpoint(filename, map_location)


def _history_statistic(cls, name):
    """All that a checkpoint may get with getattr."""
    if cls is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'GLOBAL getattr({cls}, {name})')
    return getattr(cls, name)


def _find_packages_without_pkg_resources():
    # setuptools 82 dropped pkg_resources, which these two import; Config needs them for `_base_ = 'mmdet::...'`.
    for module in (mmengine.utils, mmengine.utils.package_utils, mmengine.config.config, mmengine.hub.hub):
        for function in (is_installed, get_installed_path):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)


def is_installed(package: str) -> bool:
    """Whether `package` is an installed distribution or an importable module."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """The folder of a package, given the name of its module or of its distribution (opencv-python: cv2)."""
    modules = [package] + [module for module, distributions in importlib.metadata.packages_distributions().items()
                           if package in distributions]
    for module in modules:
        spec = sys.modules[module].__spec__ if module in sys.modules else importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent)
    raise importlib.metadata.PackageNotFoundError(package)
