"""Chooses who computes: the compiled extension, or torchvision.ops where it is missing.

MMDET_OPS=mmdet or MMDET_OPS=torchvision forces either.
"""
import logging
import multiprocessing
import os

from mmdet.ops import fallback


def _choose():
    wanted = os.environ.get('MMDET_OPS', '')
    if wanted not in ('', 'mmdet', 'torchvision'):
        raise ValueError(f'MMDET_OPS={wanted!r}: must be mmdet, torchvision or unset')
    if wanted == 'torchvision':
        return fallback
    try:
        from mmdet.ops import extension
        return extension.load()
    except (ImportError, OSError) as error:
        if wanted == 'mmdet':
            raise ImportError(f'MMDET_OPS=mmdet, but the extension does not load: {error}') from error
        if multiprocessing.parent_process() is None:  # a data loader's workers need not repeat it
            logging.getLogger('mmdet').warning(
                'mmdet.ops: torchvision.ops serves instead of the compiled extension (%s)', error)
        return fallback


kernels = _choose()


def backend():
    """'mmdet' where the compiled extension computes the operators, 'torchvision' where torchvision.ops does."""
    return 'torchvision' if kernels is fallback else 'mmdet'
