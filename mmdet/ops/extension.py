"""Loads the compiled operators and tells for which devices they serve; elsewhere an operator's slow form does.

MMDET_OPS=mmdet or MMDET_OPS=torchvision forces either.
"""
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import torch


class Served(dict):
    """Type of device -> whether the compiled kernels take its tensors. GPUs are asked when the first tensor comes."""

    def __missing__(self, device_type: str) -> bool:
        self[device_type] = device_type == 'cuda' and self.get('cpu', False) and _serves_cuda()
        return self[device_type]


SERVED = Served()


def backend(device: torch.device | str = 'cpu') -> str:
    """Who computes on this type of device: 'mmdet', the compiled extension, or 'torchvision'."""
    return 'mmdet' if SERVED[torch.device(device).type] else 'torchvision'


def has_cuda() -> bool:
    """Whether the extension is loaded and was built with CUDA kernels."""
    return SERVED['cpu'] and torch._C._dispatch_has_kernel_for_dispatch_key('mmdet::nms', 'CUDA')


class Kernels(dict):
    """(operator, type of device) -> whether the operator, which only some devices have, is compiled for it."""

    def __missing__(self, key: tuple[str, str]) -> bool:
        name, device_type = key
        self[key] = SERVED[device_type] and torch._C._dispatch_has_kernel_for_dispatch_key(
            f'mmdet::{name}', device_type.upper())
        return self[key]


KERNELS = Kernels()


def fake(name: str) -> Callable[[Callable], Callable]:
    """Decorates the function that gives an operator's outputs their shapes (`torch.library.register_fake`)."""
    def register(function: Callable) -> Callable:
        if SERVED['cpu'] and not hasattr(torch.ops.mmdet, name):
            _give_up(f'it was built from older sources, without {name}. To build it anew: '
                     'pip install --no-build-isolation -e .')
        if SERVED['cpu']:
            torch.library.register_fake(f'mmdet::{name}', function)
        return function
    return register


def differentiable(name: str, backward: Callable, setup_context: Callable) -> None:
    """Gives an operator its gradient (`torch.library.register_autograd`)."""
    if SERVED['cpu']:
        torch.library.register_autograd(f'mmdet::{name}', backward, setup_context=setup_context)


def _load() -> None:
    wanted = os.environ.get('MMDET_OPS', '')
    if wanted not in ('', 'mmdet', 'torchvision'):
        raise ValueError(f'MMDET_OPS={wanted!r}: must be mmdet, torchvision or unset')
    SERVED['cpu'] = SERVED['meta'] = wanted != 'torchvision'
    if wanted == 'torchvision':
        return
    libraries = sorted(Path(__file__).parent.glob('_C.*so'))
    if not libraries:
        return _give_up('it was not built: no C++ compiler at install time?')
    try:
        torch.ops.load_library(libraries[0])
    except (ImportError, OSError) as error:
        _give_up(error)


def _give_up(reason: str | Exception) -> None:
    if os.environ.get('MMDET_OPS') == 'mmdet':
        raise ImportError(f'MMDET_OPS=mmdet, but the extension does not load: {reason}')
    SERVED.update(dict.fromkeys(SERVED, False))
    _say(f'torchvision.ops serves instead of the compiled extension: {reason}')


def _serves_cuda() -> bool:
    if not has_cuda():
        if torch.cuda.is_available():
            _say('the extension was built without CUDA, so torchvision.ops serves on GPUs (MMDET_CUDA=1 builds it)')
        return False
    try:
        if torch.cuda.is_available():
            _try_cuda()
    except RuntimeError as error:
        if os.environ.get('MMDET_OPS') == 'mmdet':
            raise
        _say(f'torchvision.ops serves on this GPU, because the compiled extension does not run there: {error}. Usually '
             'the driver is older than the CUDA toolkit that built it: see INSTALL.md, A machine with a GPU')
        return False
    return True


def _try_cuda() -> None:
    """Run an operator on one box. RuntimeError where the driver or the GPU is too old for the kernels."""
    one = torch.zeros(1, 1, dtype=torch.int64, device='cuda')
    torch.ops.mmdet.nms(torch.zeros(1, 1, 4, device='cuda'), one, one, one[0], 0.5, 1)


def _say(message: str) -> None:
    if multiprocessing.parent_process() is None:  # a data loader's workers need not repeat it
        logging.getLogger('mmdet').warning('mmdet.ops: %s', message)


_load()
