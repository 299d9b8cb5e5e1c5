"""Whose kernels serve: on CPUs those of csrc/conv for convolutions, weight gradients and scatter matrices.

MMDET_CONV=torch turns them off, and PyTorch's serve; docs/conv-kernels.md explains them. MMDET_CONV=cudnn takes cuDNN's
convolutions with bias, residual and ReLU on GPUs.
"""
import os

import torch


def _wanted() -> str:
    choice = os.environ.get('MMDET_CONV', '')
    if choice not in ('', 'torch', 'cudnn'):
        raise ValueError(f'MMDET_CONV={choice!r}: must be torch, cudnn or unset')
    return choice


CONV_KERNELS = _wanted() != 'torch'
CONV_RELU = _wanted() == 'cudnn'
DTYPES = {torch.float32, torch.bfloat16}  # that weight gradients and scatter matrices are computed of
