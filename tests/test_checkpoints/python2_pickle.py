"""Pickles as Python 2 and NumPy 1 wrote them: protocol 2, strings of bytes."""
import struct

import numpy as np


def dumps(value) -> bytes:
    """`value` of dicts, lists, strings, numbers and arrays, as cPickle.dumps(value, 2) of Python 2 gives it."""
    return b'\x80\x02' + b''.join(_parts(value)) + b'.'


def string(text) -> bytes:
    data = text if isinstance(text, bytes) else text.encode('latin-1')
    return b'U' + bytes([len(data)]) + data if len(data) < 256 else b'T' + struct.pack('<i', len(data)) + data


def dtype(array) -> bytes:
    code = array.dtype.str[1:]
    order = string(array.dtype.str[0])
    return (b'cnumpy\ndtype\n' + string(code) + b'K\x00K\x01\x87R(K\x03' + order +
            b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb')


def _parts(value):
    if isinstance(value, dict):
        yield b'}('
        for key, item in value.items():
            yield from _parts(key)
            yield from _parts(item)
        yield b'u'
    elif isinstance(value, list):
        yield b']('
        for item in value:
            yield from _parts(item)
        yield b'e'
    elif isinstance(value, np.ndarray):
        yield b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85' + string('b') + b'\x87R('
        yield b'K\x01(' + b''.join(b'J' + struct.pack('<i', n) for n in value.shape) + b't'
        yield dtype(value) + b'\x89' + string(value.tobytes()) + b'tb'
    elif isinstance(value, np.generic):
        yield b'cnumpy.core.multiarray\nscalar\n' + dtype(value) + string(value.tobytes()) + b'\x86R'
    elif isinstance(value, (str, bytes)):
        yield string(value)
    elif isinstance(value, int):
        yield b'J' + struct.pack('<i', value)
    elif isinstance(value, float):
        yield b'G' + struct.pack('>d', value)
    else:
        raise TypeError(value)
