"""NumPy arrays and scalars out of a pickle, built from checked bytes.

NumPy's own reconstruction takes the file's word for shapes and types: a few bytes may claim terabytes, or objects.
Here a file only fills records, and an array is made when its bytes are there and are as many as its shape says.
"""
import math
import pickle
import re
import reprlib
from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np

KNOWN_TYPES = re.compile(r'[<>|=]?(\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,4})')


def shown(value: object) -> str:
    """A few characters for an error, whatever `value` is: to write out tuples of tuples may take for ever."""
    return reprlib.repr(value)[:80]


class DType:
    """Stands for numpy.dtype: only booleans, numbers and strings."""
    dtype: np.dtype

    def __init__(self, code: str | bytes = '', *flags: object):
        if isinstance(code, bytes):
            code = code.decode('latin-1')
        if not isinstance(code, str) or not KNOWN_TYPES.fullmatch(code):
            raise pickle.UnpicklingError(f'an array of type {shown(code)}: only numbers, booleans and strings are read')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order: Any = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        order = order.decode('latin-1') if isinstance(order, bytes) else order
        if order not in ('<', '>', '|', '='):
            raise pickle.UnpicklingError(f'a NumPy type of byte order {shown(order)}')
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError('an array of records: only plain arrays are read')
        self.dtype = self.dtype.newbyteorder(order)


class Array(np.ndarray):
    """Stands for numpy.ndarray: empty until __setstate__ has checked what fills it."""

    def __new__(cls, *_: object) -> 'Array':
        return np.empty(0, np.uint8).view(cls)

    def __setstate__(self, state: tuple) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError('an array without shape, type and bytes')
        _, shape, dtype, fortran, data = state
        dtype, data = checked(shape, dtype, data)
        super().__setstate__((1, shape, dtype, bool(fortran), data))  # type: ignore[arg-type]

    def __reduce__(self) -> str | tuple:  # written again, it is what it was
        return self.view(np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def checked(shape: Any, dtype: Any, data: Any) -> tuple[np.dtype, bytes]:
    """(numpy dtype, bytes) if `data` holds exactly an array of `shape`; raises UnpicklingError if not."""
    if not isinstance(dtype, DType):
        raise pickle.UnpicklingError('an array whose type is none of NumPy')
    if isinstance(data, str):  # how Python 2's bytes come
        data = data.encode('latin-1')
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError(f'an array of {type(data).__name__}: only plain bytes are read')
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f'an array of shape {shown(shape)}')
    size = math.prod(shape) * dtype.dtype.itemsize
    if size != len(data) or max(shape, default=0) > 1 << 40:
        raise pickle.UnpicklingError(f'an array {shown(shape)} of {dtype.dtype}, which takes {size} bytes, with '
                                     f'{len(data)} bytes')
    return dtype.dtype, bytes(data)


def reconstruct(*_: object) -> Array:
    """numpy.core.multiarray._reconstruct: an array whose shape, type and bytes follow."""
    return Array()


def scalar(dtype: Any, data: Any) -> np.generic:
    """numpy.core.multiarray.scalar."""
    dtype, data = checked((), dtype, data)
    return np.frombuffer(data, dtype)[0]


def frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """numpy._core.numeric._frombuffer: how arrays lie in pickles of protocol 5."""
    array = Array()
    array.__setstate__((1, shape, dtype, order == 'F', data))
    return array


NUMPY: dict[str, Callable] = {'numpy.ndarray': Array, 'numpy.dtype': DType}
for _package in ('numpy.core', 'numpy._core'):
    NUMPY |= {f'{_package}.multiarray._reconstruct': reconstruct, f'{_package}.multiarray.scalar': scalar,
              f'{_package}.numeric._frombuffer': frombuffer}
