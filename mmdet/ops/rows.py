"""A function of rows that gives a large result, a few rows at a time."""
from collections.abc import Callable

import torch
from torch import Tensor

ROWS_AT_ONCE = 32


def map_rows(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function(*tensors)` of a function that treats every row for itself.

    On CPUs it is called for a few rows at a time, so that what it needs between does not grow with their number. On
    GPUs it is called once: many small kernels would take longer, and memory is reused.

    Args:
        function: (n, ...) tensors -> (n, ...) tensor; also called with n = 0.
        tensors (Tensor): (N, ...) each, of one device.

    Returns:
        Tensor: (N, ...), what the function gave, joined.

    Raises:
        ValueError: no tensors, or of several lengths or devices.
    """
    if torch.compiler.is_exporting():  # the number of rows is a symbol
        return function(*tensors)
    if not tensors or any(tensor.dim() == 0 or len(tensor) != len(tensors[0]) or tensor.device != tensors[0].device
                          for tensor in tensors):
        raise ValueError('map_rows: tensors must be (N, ...) of one N on one device, got '
                         f'{[(tuple(tensor.shape), str(tensor.device)) for tensor in tensors]}')
    size = ROWS_AT_ONCE if tensors[0].device.type == 'cpu' else max(len(tensors[0]), 1)
    return torch.cat([function(*parts) for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True)])
