"""Chooses who computes: the compiled extension, or torchvision.ops where it is missing.

MMDET_OPS=mmdet or MMDET_OPS=torchvision forces either.
"""
import functools
import logging
import multiprocessing
import os

import torch

from mmdet.ops import extension


def _load_extension():
    """The compiled operators and the types of device they have kernels for; (None, ()) where torchvision serves."""
    wanted = os.environ.get('MMDET_OPS', '')
    if wanted not in ('', 'mmdet', 'torchvision'):
        raise ValueError(f'MMDET_OPS={wanted!r}: must be mmdet, torchvision or unset')
    if wanted == 'torchvision':
        return None, ()
    try:
        operators = extension.load()
    except (ImportError, OSError) as error:
        if wanted == 'mmdet':
            raise ImportError(f'MMDET_OPS=mmdet, but the extension does not load: {error}') from error
        _say(f'torchvision.ops serves instead of the compiled extension: {error}')
        return None, ()
    if extension.has_cuda():
        return operators, ('cpu', 'cuda', 'meta')
    if torch.cuda.is_available():
        _say('the extension was built without CUDA, so torchvision.ops serves on GPUs (MMDET_CUDA=1 builds it)')
    return operators, ('cpu', 'meta')


def _say(message):
    if multiprocessing.parent_process() is None:  # a data loader's workers need not repeat it
        logging.getLogger('mmdet').warning('mmdet.ops: %s', message)


_operators, _devices = _load_extension()


@functools.cache
def kernels(device):
    """The operators for tensors of a device: the extension's where it has kernels for it."""
    if device.type in _devices:
        return _operators
    from mmdet.ops import fallback  # only here: importing torchvision takes a second
    return fallback


def backend(device='cpu'):
    """Who computes on this type of device: 'mmdet', the compiled extension, or 'torchvision'."""
    return 'mmdet' if torch.device(device).type in _devices else 'torchvision'
