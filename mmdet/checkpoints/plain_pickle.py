"""Reads pickles of plain data: numbers, strings, lists, tuples, dicts and NumPy arrays, of Python 2 and 3.

Python's unpickler calls what the file names. This one imports and calls nothing: a name in the file is text, and the
few names of NUMPY stand for functions of ours.
"""
import io
import pickle
import pickletools
from collections import OrderedDict
from typing import Any, NamedTuple

from .arrays import NUMPY, Array, DType

MAX_DEPTH = 100_000  # values that wait to be put into something; Python writes at most 1000 of a level
OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
MARK = object()
VALUES = {'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'UNICODE', 'BINUNICODE',
          'SHORT_BINUNICODE', 'BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8',
          'STRING', 'BINSTRING', 'SHORT_BINSTRING'}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict, 'EMPTY_SET': set}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


class Name(NamedTuple):
    """Something of a module that the file asks for."""
    path: str


class Refused(pickle.UnpicklingError):
    """The file asks for something that is not plain data. `args[0]` is its name."""


class PlainPickle:
    """One pickle after another out of `file`, which must be held in memory (its read ends where the file ends)."""

    def __init__(self, file: io.BytesIO):
        self.file = file

    def load(self) -> Any:
        """The next pickle's value. Raises Refused, or UnpicklingError when the file is no pickle or is damaged."""
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        try:
            for opcode, value, _ in pickletools.genops(self.file):
                if opcode.name == 'STOP':
                    return self.stack.pop()
                self.step(opcode.name, value)
                if len(self.stack) > MAX_DEPTH:
                    raise pickle.UnpicklingError(f'values nested deeper than {MAX_DEPTH}')
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
            raise pickle.UnpicklingError(f'no pickle, or a damaged one: {str(error)[:200]}') from None
        raise pickle.UnpicklingError('no pickle, or a damaged one: it does not end')

    def step(self, op: str, value: Any) -> None:
        stack = self.stack
        if op in VALUES:
            stack.append(value)
        elif op in CONSTANTS:
            stack.append(CONSTANTS[op])
        elif op in EMPTY:
            stack.append(EMPTY[op]())
        elif op in TUPLES:
            items = stack[-TUPLES[op]:]
            if len(items) < TUPLES[op]:
                raise ValueError('a tuple without its items')
            stack[-TUPLES[op]:] = [tuple(items)]
        elif op in ('TUPLE', 'LIST', 'DICT'):
            items = self.since_mark()
            stack.append(tuple(items) if op == 'TUPLE' else items if op == 'LIST' else {})
            if op == 'DICT':
                self.set_items(items)
        elif op == 'MARK':
            stack.append(MARK)
        elif op in ('APPEND', 'APPENDS'):
            items = [stack.pop()] if op == 'APPEND' else self.since_mark()
            if type(stack[-1]) is not list:
                raise ValueError('items for something other than a list')
            stack[-1].extend(items)
        elif op in ('SETITEM', 'SETITEMS'):
            items = [stack.pop(), stack.pop()][::-1] if op == 'SETITEM' else self.since_mark()
            self.set_items(items)
        elif op in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            self.memo[len(self.memo) if op == 'MEMOIZE' else value] = stack[-1]
        elif op in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(self.memo[value])
        elif op == 'POP':
            stack.pop()
        elif op == 'POP_MARK':
            self.since_mark()
        elif op == 'DUP':
            stack.append(stack[-1])
        elif op in ('GLOBAL', 'STACK_GLOBAL'):
            module, name = value.split(' ', 1) if op == 'GLOBAL' else (stack.pop(), stack.pop())[::-1]
            stack.append(self.name(f'{OLD_MODULES.get(module, module)}.{name}'))
        elif op == 'REDUCE':
            args, called = stack.pop(), stack.pop()
            if not isinstance(called, Name) or type(args) is not tuple:
                raise ValueError(f'a call of {type(called).__name__}')
            stack.append(self.call(called.path, args))
        elif op in ('NEWOBJ', 'NEWOBJ_EX'):
            args = stack.pop() if op == 'NEWOBJ' else (stack.pop(), stack.pop())[1]
            called = stack.pop()
            if not isinstance(called, Name):
                raise ValueError(f'a new {type(called).__name__}')
            stack.append(self.new(called.path, args))
        elif op == 'BUILD':
            state = stack.pop()
            self.build(stack[-1], state)
        elif op == 'BINPERSID':
            stack.append(self.persistent(stack.pop()))
        elif op not in ('PROTO', 'FRAME'):
            raise Refused(f'pickle instruction {op}')

    def since_mark(self) -> list:
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise ValueError('items without a beginning')
        items = self.stack[at + 1:]
        del self.stack[at:]
        return items

    def set_items(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise ValueError('entries for something other than a dict')
        for key, value in zip(items[::2], items[1::2]):
            if not isinstance(key, (str, bytes, int, float, type(None))):
                raise ValueError(f'a key that is a {type(key).__name__}')
            target[key] = value

    def name(self, path: str) -> Name:
        if path not in NUMPY and path not in ('collections.OrderedDict', '_codecs.encode'):
            raise Refused(path)
        return Name(path)

    def call(self, path: str, args: tuple) -> Any:
        if path == 'collections.OrderedDict':
            pairs: OrderedDict[Any, Any] = OrderedDict()
            self.stack.append(pairs)
            self.set_items([part for pair in (args[0] if args else ()) for part in pair])
            return self.stack.pop()
        if path == '_codecs.encode':  # how Python 3 writes bytes for Python 2
            text, encoding = args
            if encoding not in ('latin1', 'latin-1'):
                raise Refused(f'_codecs.encode to {encoding!r:.40}')
            return text.encode('latin-1')
        return NUMPY[path](*args)

    def new(self, path: str, args: tuple) -> Any:
        raise Refused(path)

    def build(self, target: Any, state: Any) -> None:
        if type(target) not in (Array, DType):
            raise ValueError(f'a state for a {type(target).__name__}')
        target.__setstate__(state)

    def persistent(self, key: Any) -> Any:
        raise Refused('data outside the pickle')
