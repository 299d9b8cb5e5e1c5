"""Works round the faults of mmengine 0.10.7, and of its fork onedl-mmengine 0.10.12, on today's PyTorch and Python.

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
from typing import Any

import mmengine.config.config
import mmengine.hub.hub
import mmengine.utils
import numpy as np
import torch
import yaml
from mmengine.fileio.handlers import yaml_handler
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OptimWrapper
from mmengine.runner import CheckpointLoader

from mmdet import checkpoints

from . import private_names
from .config_text import config_text


def apply() -> None:
    """Mend mmengine; doing it twice changes nothing. Raises ImportError for an mmengine that cannot be mended."""
    private_names.check()
    _read_checkpoints_safely()
    _find_packages_without_pkg_resources()
    _read_scalars_when_asked()
    _read_yaml_safely()
    _write_configs_quickly()


def _write_configs_quickly() -> None:
    # It formats the config with yapf, seconds of a start on a slow machine, and again for each checkpoint.
    mmengine.config.Config.pretty_text = property(lambda cfg: config_text(cfg.to_dict()))


def _read_checkpoints_safely() -> None:
    # torch.load reads tensors and plain data only since PyTorch 2.6, and mmengine's checkpoints hold its HistoryBuffer:
    # it cannot read its own. Our reader takes that one class.
    checkpoints.SAFE_CLASSES['mmengine.logging.history_buffer.HistoryBuffer'] = SavedHistory
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://'],
        load_from_mmdet, force=True)


# mmengine logs what follows 'load_from_'.
def load_from_mmdet(filename: str, map_location: str | torch.device | None = None) -> dict:
    return checkpoints.read_checkpoint(filename, map_location)


class SavedHistory(HistoryBuffer):
    """A HistoryBuffer out of a file; it is one once its state has been checked."""

    def __setstate__(self, state: Any) -> None:
        names = ('_log_history', '_count_history')
        parts: list[Any] = [state.get(name) for name in names] if isinstance(state, dict) else []
        if not all(isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in 'biuf' for part in parts) \
                or len({len(part) for part in parts}) != 1:
            raise pickle.UnpicklingError('a HistoryBuffer without its history')
        super().__init__(*(part.view(np.ndarray) for part in parts))
        self.__class__ = HistoryBuffer  # type: ignore[assignment]


def _find_packages_without_pkg_resources() -> None:
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


def _read_scalars_when_asked() -> None:
    # mmengine reads every loss and the norm of the gradients from the device in each iteration. That waits for all the
    # device has to do, and then it has nothing to do. Here they wait until somebody asks: at the log interval.
    MessageHub.update_scalar = update_scalar
    MessageHub._log_scalars = property(_histories, lambda hub, value: hub.__dict__.update(_log_scalars=value))
    OptimWrapper._clip_grad = _clip_grad


def _read_yaml_safely() -> None:
    # mmengine's loader makes any object that a file names: a config in YAML could run code.
    yaml_handler.Loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


def update_scalar(hub: MessageHub, key: str, value: int | float | np.ndarray | torch.Tensor, count: int = 1,
                  resumed: bool = True) -> None:
    """MessageHub.update_scalar, where a tensor stays unread on its device."""
    hub._set_resumed_keys(key, resumed)
    waiting = hub.__dict__.setdefault('_waiting', {})  # (tensor, count) of each key
    if key in waiting and (not isinstance(value, torch.Tensor) or len(waiting[key]) >= 1000):
        _histories(hub)
    if isinstance(value, torch.Tensor):
        waiting.setdefault(key, []).append((value.detach().reshape(()), count))
    else:
        _append(hub, key, hub._get_valid_value(value), count)


def _histories(hub: MessageHub) -> dict[str, HistoryBuffer]:
    waiting = hub.__dict__.setdefault('_waiting', {})
    entries = [(key, *entry) for key, of_key in waiting.items() for entry in of_key]
    waiting.clear()
    for device in {value.device for _, value, _ in entries}:
        there = [entry for entry in entries if entry[1].device == device]
        values = torch.stack([value.double() for _, value, _ in there]).tolist()
        for (key, _, count), value in zip(there, values):
            _append(hub, key, value, count)
    return hub.__dict__['_log_scalars']


def _append(hub: MessageHub, key: str, value: float, count: int) -> None:
    histories = hub.__dict__['_log_scalars']
    if key in histories:
        histories[key].update(value, count)
    else:
        histories[key] = HistoryBuffer([value], [count])


def _clip_grad(wrapper: OptimWrapper) -> None:
    parameters = [parameter for group in wrapper.optimizer.param_groups for parameter in group['params']
                  if parameter.grad is not None]
    norm = wrapper.clip_func(parameters, **wrapper.clip_grad_kwargs) if parameters else None
    if norm is not None:  # of clip_grad_value_ it is
        wrapper.message_hub.update_scalar(f'train/{wrapper.grad_name}', norm)
