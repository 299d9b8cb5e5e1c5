"""An unpickler for plain data: numbers, strings, lists, tuples, dicts and NumPy arrays, of Python 2 and 3.

It finds no names but those of a table, so no file runs code. That alone would not do. This also stops, each in a file
of a few bytes:

- a place in the memo far out, for which Python's unpickler in C takes gigabytes: so this is the one in Python, whose
  memo is a dict. Files of weights hold few instructions, and it takes as long;
- a state for a class or a function, which would change it for the whole process: instructions are named one by one, and
  a state is given only to what expects one;
- tuples of tuples as keys of a dict, whose hash takes for ever, and the same as values, which do so wherever they are
  copied or printed: keys are plain, and `load` counts what it read as often as it is met.
"""
import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from .arrays import NUMPY

OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
MAX_VALUES, MAX_DEPTH = 2_000_000, 100
PLAIN = '''PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 STRING BINSTRING
SHORT_BINSTRING EMPTY_LIST EMPTY_TUPLE EMPTY_DICT EMPTY_SET LIST TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS PUT BINPUT
LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BINPERSID'''.split()
OPCODES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class Refused(pickle.UnpicklingError):
    """The file asks for something that is not plain data. `args[0]` is its name."""


class Instructions(dict):
    """Code of an instruction -> what carries it out."""

    def __missing__(self, code: int) -> Callable:
        if code in OPCODES:
            raise Refused(f'pickle instruction {OPCODES[code]}')
        raise pickle.UnpicklingError('no pickle, or a damaged one')


PythonsOwn: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the one in Python, there since 3.0


class Unpickler(PythonsOwn):
    """One pickle after another out of `file`, which must be held in memory (its read ends where the file ends).

    names: what a file may name, beside OrderedDict and NumPy's arrays -> what stands for it.
    """
    max_values = MAX_VALUES

    def __init__(self, file: io.BytesIO, names: Mapping[str, Any] | None = None):
        super().__init__(file, encoding='latin-1')
        self.names = {**NAMES, **(names or {})}

    def load(self) -> Any:
        """The next pickle's value. Raises Refused, or UnpicklingError when the file is no pickle or is damaged."""
        try:
            value = super().load()
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError, AssertionError):
            # Without their text: to write a hostile value out may take for ever.
            raise pickle.UnpicklingError('no pickle, or a damaged one') from None
        check_extent(value, self.max_values)
        return value

    def find_class(self, module: str, name: str) -> Any:
        path = f'{OLD_MODULES.get(module, module)}.{name}'
        if path not in self.names:
            raise Refused(path[:200])
        return self.names[path]

    def persistent_load(self, pid: Any) -> Any:
        raise Refused('data outside the pickle')

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), 'little'))))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        fill(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        fill(self.stack[-1], items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        fill(self.stack[-1], items)

    def load_newobj(self) -> None:
        args, cls = self.stack.pop(), self.stack.pop()
        if not (isinstance(cls, type) and '__setstate__' in vars(cls) and args == ()):
            raise pickle.UnpicklingError(f'a new {getattr(cls, "__name__", type(cls).__name__)}')
        self.append(cls.__new__(cls))  # type: ignore[call-overload]

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is OrderedDict and isinstance(state, dict) and state.keys() <= {'_metadata'}:
            vars(target).update(state)  # of nn.Module.state_dict
        elif type(target) in self.names.values() and hasattr(type(target), '__setstate__'):
            target.__setstate__(state)
        else:
            raise pickle.UnpicklingError(f'a state for a {type(target).__name__}')

    dispatch = Instructions({code: PythonsOwn.dispatch[code] for code, name in OPCODES.items() if name in PLAIN})
    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.DICT[0]: load_dict,
                 pickle.BYTEARRAY8[0]: load_bytearray8, pickle.NEWOBJ[0]: load_newobj, pickle.BUILD[0]: load_build}


def fill(target: Any, items: list) -> None:
    """Keys and values in turn into a dict."""
    if type(target) not in (dict, OrderedDict) or len(items) % 2:
        raise pickle.UnpicklingError('entries for something other than a dict')
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, bytes, int, float, type(None))):
            raise pickle.UnpicklingError(f'a key that is a {type(key).__name__}')
        target[key] = value


def ordered(pairs: Any = ()) -> OrderedDict:
    """collections.OrderedDict."""
    made: OrderedDict[Any, Any] = OrderedDict()
    fill(made, [part for pair in pairs for part in pair])
    return made


def encode(text: str, encoding: str) -> bytes:
    """_codecs.encode: how Python 3 writes bytes for Python 2."""
    if encoding not in ('latin1', 'latin-1'):
        raise Refused('_codecs.encode to another encoding than latin1')
    return text.encode('latin-1')


NAMES: dict[str, Any] = {**NUMPY, 'collections.OrderedDict': ordered, '_codecs.encode': encode}


def check_extent(value: Any, max_values: int = MAX_VALUES) -> None:
    """Raise UnpicklingError for what is nested too deep or holds itself, or is too large once it is written out."""
    count, level = 0, [value]
    for _ in range(MAX_DEPTH):
        level = [node for node in level if isinstance(node, (dict, list, tuple))]
        count += sum(map(len, level))
        if not level:
            return
        if count > max_values:
            raise pickle.UnpicklingError(f'more than {max_values} values')
        level = [part for node in level for part in (node.values() if isinstance(node, dict) else node)]
    raise pickle.UnpicklingError(f'values nested deeper than {MAX_DEPTH}')
