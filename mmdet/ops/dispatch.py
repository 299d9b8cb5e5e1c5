"""Chooses who computes: the compiled extension, or torchvision.ops where it is missing.

MMDET_OPS=mmdet or MMDET_OPS=torchvision forces either.
"""
import logging
import multiprocessing
import os

import torch

from mmdet.ops import extension


class Kernels(dict):
    """The operators by type of device: the extension's where it has kernels for it, else torchvision's."""

    def __missing__(self, device_type):
        from mmdet.ops import fallback  # only here: importing torchvision takes a second
        return fallback


def _load():
    wanted = os.environ.get('MMDET_OPS', '')
    if wanted not in ('', 'mmdet', 'torchvision'):
        raise ValueError(f'MMDET_OPS={wanted!r}: must be mmdet, torchvision or unset')
    if wanted == 'torchvision':
        return Kernels()
    try:
        operators = extension.load()
    except (ImportError, OSError) as error:
        if wanted == 'mmdet':
            raise ImportError(f'MMDET_OPS=mmdet, but the extension does not load: {error}') from error
        _say(f'torchvision.ops serves instead of the compiled extension: {error}')
        return Kernels()
    if extension.has_cuda():
        return Kernels(cpu=operators, cuda=operators, meta=operators)
    if torch.cuda.is_available():
        _say('the extension was built without CUDA, so torchvision.ops serves on GPUs (MMDET_CUDA=1 builds it)')
    return Kernels(cpu=operators, meta=operators)


def _say(message):
    if multiprocessing.parent_process() is None:  # a data loader's workers need not repeat it
        logging.getLogger('mmdet').warning('mmdet.ops: %s', message)


kernels = _load()


def has_cpu_kernels(tensor):
    """Whether the tensor lies on the CPU and the extension serves there: for operators that it has for CPUs alone."""
    return tensor.device.type == 'cpu' and 'cpu' in kernels


def backend(device='cpu'):
    """Who computes on this type of device: 'mmdet', the compiled extension, or 'torchvision'."""
    return 'mmdet' if torch.device(device).type in kernels else 'torchvision'
