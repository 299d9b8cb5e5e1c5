"""Checks that operators share. They ask for no value of a tensor, so the device need not be waited for.

They stand in Python because an error thrown inside a kernel ends the process on PyTorch 2.11.
"""
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

MOST = 2**31 - 1


def check_whole(name: str, least: int = 0, most: int = MOST, **values: Any) -> None:
    """TypeError or ValueError, said by the operator's name, for what is no whole number from `least` to `most`."""
    for argument, value in values.items():
        if not isinstance(value, (Integral, torch.SymInt)):
            raise TypeError(f'{name}: {argument} must be a whole number, got {value!r}')
        if value < least or value > most:  # type: ignore[operator]  # of typeshed's Integral
            raise ValueError(f'{name}: {argument} must be from {least} to {most}, got {value}')


def check_pairs(name: str, **pairs: Sequence[int]) -> None:
    """Of height and width; kernel_size, stride and dilation must be positive, padding not negative."""
    for argument, pair in pairs.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f'{name}: {argument} must be two whole numbers, of height and width, got {pair!r}')
        for value in pair:
            check_whole(name, least=0 if argument == 'padding' else 1, **{argument: value})


def check_number(name: str, **values: Any) -> None:
    """TypeError or ValueError for what is no number, or NaN."""
    for argument, value in values.items():
        if not isinstance(value, (int, float, torch.SymFloat)):
            raise TypeError(f'{name}: {argument} must be a number, got {value!r}')
        if value != value:
            raise ValueError(f'{name}: {argument} is NaN')


def check_rows(name: str, rows: Tensor, images: Tensor) -> None:
    """ValueError for rows that do not tell of each of `images` (B, ...) whether it counts."""
    if rows.dtype != torch.bool or rows.shape != images.shape[:1] or rows.device != images.device:
        raise ValueError(f'{name}: rows must be bool ({len(images)},) on {images.device}, got {rows.dtype} '
                         f'{tuple(rows.shape)} on {rows.device}')


def check_together(name: str, *tensors: Tensor | None) -> None:
    """ValueError for tensors of several devices; TypeError for those that are not floating point."""
    there = [tensor for tensor in tensors if tensor is not None]
    if any(tensor.device != there[0].device for tensor in there):
        raise ValueError(f'{name}: all tensors must lie on one device, got {[str(tensor.device) for tensor in there]}')
    if not all(tensor.is_floating_point() for tensor in there):
        raise TypeError(f'{name}: all tensors must be floating point, got {[tensor.dtype for tensor in there]}')
