"""Whether the kernels of csrc/conv serve: convolutions, weight gradients and scatter matrices on CPUs.

MMDET_CONV=torch turns them off, and PyTorch's serve. docs/conv-kernels.md explains them.
"""
import os

import torch


def _wanted() -> bool:
    choice = os.environ.get('MMDET_CONV', '')
    if choice not in ('', 'torch'):
        raise ValueError(f'MMDET_CONV={choice!r}: must be torch or unset')
    return choice != 'torch'


CONV_KERNELS = _wanted()
DTYPES = {torch.float32, torch.bfloat16}  # that weight gradients and scatter matrices are computed of
