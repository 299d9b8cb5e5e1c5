"""Files that would run code, fill the memory, or are broken: each is refused with a message that names it."""
import builtins
import io
import os
import pickle
import resource
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import python2_pickle
import torch

from mmdet.checkpoints import read_checkpoint


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args, state=None):
        self.function, self.args, self.state = function, args, state

    def __reduce__(self):
        return (self.function, self.args) if self.state is None else (self.function, self.args, self.state)


class Text:
    def __reduce__(self):
        return eval, ('open("ran", "w")',)


def name(module, attribute):
    return f'c{module}\n{attribute}\n'.encode()


def called(module, attribute, *args):
    return b'\x80\x02}U\x01a' + name(module, attribute) + b'(' + b''.join(args) + b'tRs.'


ARRAY = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
FLOAT = b'cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
TERABYTES = b'\x8a\x06' + (10**13).to_bytes(6, 'little')


EIGHT = python2_pickle.string(bytes(8))


def array(shape=b'K\x02\x85', dtype=FLOAT, data=EIGHT):
    return b'\x80\x02}U\x01a' + ARRAY + b'(K\x01' + shape + dtype + b'\x89' + data + b'tbs.'


def objects():
    """What NumPy writes for an array of objects."""
    return pickle.dumps({'a': np.array([print, None], dtype=object)}, 2)


PICKLES = {
    'os.system': (pickle.dumps(Calls(os.system, 'touch ran')), 'posix.system'),
    'eval': (pickle.dumps({'a': Text()}), 'builtins.eval'),
    'eval, Python 2': (called('__builtin__', 'eval', b"U\x101+1 or open('ran')"), 'builtins.eval'),
    'exec, protocol 5': (pickle.dumps([Calls(exec, '1')], 5), 'builtins.exec'),
    'getattr': (pickle.dumps(Calls(getattr, 'a', 'join')), 'builtins.getattr'),
    'import': (pickle.dumps(Calls(builtins.__import__, 'os')), 'builtins.__import__'),
    'own module': (called('mmdet.checkpoints.source', 'local_file', b'U\x01a'), 'mmdet.checkpoints.source.local_file'),
    'own class': (called('mmdet.checkpoints.unpickler', 'Unpickler', b'U\x01a'), 'unpickler.Unpickler'),
    'NumPy function': (called('numpy', 'load', b'U\x01a'), 'numpy.load'),
    'NumPy memmap': (called('numpy', 'memmap', b'U\x01a'), 'numpy.memmap'),
    'copyreg': (called('copy_reg', '_reconstructor', name('os', 'system'), name('__builtin__', 'object'), b'N'),
                'copyreg._reconstructor'),
    'copyreg.__newobj__': (b'\x80\x02' + name('copy_reg', '__newobj__') + name('os', '_Environ') + b'\x85R.',
                           'copyreg.__newobj__'),
    'stack global': (b'\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.', 'os.system'),
    'dotted name': (b'\x80\x04\x8c\x05numpy\x8c\x0efromstring.mro\x93)R.', 'numpy.fromstring.mro'),
    'instance': (b'(ios\nsystem\n.', 'INST'),
    'object': (b'(cos\nsystem\no.', 'os.system'),
    'extension registry': (b'\x80\x02\x82\x01.', 'EXT1'),
    'persistent id': (b'\x80\x02U\x01aQ.', 'data outside the pickle'),
    'encode to code': (called('_codecs', 'encode', b'U\x01aU\x03zip'), '_codecs.encode'),
    'state for a function': (b'\x80\x02}U\x01a' + name('numpy.core.multiarray', '_reconstruct') + b'}U\x01bK\x01sbs.',
                             'a state for a function'),
    'state for a dict': (b'\x80\x02}}U\x01bK\x01sb.', 'a state for a dict'),
    'new array': (b'\x80\x02' + name('numpy', 'ndarray') + TERABYTES + b'\x85\x81.', 'a new Array'),
    'call of a string': (b'\x80\x02U\x01a)R.', 'is damaged'),
    'nested call': (called('numpy.core.multiarray', '_reconstruct', name('os', 'getcwd'), b')R'), 'os.getcwd'),
    'call inside arguments of a call': (called('collections', 'OrderedDict', b'](K\x01]', name('os', 'abort'), b')R'),
                                        'os.abort'),
    'objects in an array': (objects(), "an array of type 'O8'"),
    'records': (array(dtype=b'cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R'), "an array of type 'V8'"),
    'fields': (array(dtype=FLOAT[:-1].replace(b'NNN', b'N)}') + b'b'), 'an array of records'),
    'terabytes': (array(b'(' + TERABYTES + b't'), 'takes 40000000000000 bytes'),
    'overflow': (array(b'(' + (b'\x8a\x09' + (2**63).to_bytes(9, 'little')) * 2 + b't'), 'with 8 bytes'),
    'zero times terabytes': (array(b'(' + b'\x8a\x09' + (2**63).to_bytes(9, 'little') + b'K\x00t',
                                   data=python2_pickle.string(b'')), 'with 0 bytes'),
    'negative shape': (array(b'J\xff\xff\xff\xff\x85'), r'shape \(-1,\)'),
    'shape of text': (array(b'U\x01a\x85'), "shape .'a'"),
    'too few bytes': (array(data=python2_pickle.string(bytes(7))), 'with 7 bytes'),
    'too many bytes': (array(data=python2_pickle.string(bytes(9))), 'with 9 bytes'),
    'bytes that are a list': (array(data=b']'), 'an array of list'),
    'type that is text': (array(dtype=b'U\x02f4'), 'whose type is none of NumPy'),
    'terabytes in a type': (array(dtype=b'cnumpy\ndtype\nU\x0aS999999999K\x00K\x01\x87R'), 'an array of type'),
    'array without state': (b'\x80\x02' + ARRAY + b'Nb.', 'without shape'),
    'cut short': (python2_pickle.dumps({'conv1_w': np.zeros((64, 3, 7, 7), 'f4')})[:-20], 'is damaged'),
    'long string, short file': (b'\x80\x02T\xff\xff\xff\x7fabc.', 'is damaged'),
    'length below zero': (b'\x80\x02T\xff\xff\xff\xffabc.', 'is damaged'),
    'huge number': (b'\x80\x02\x8b\xff\xff\xff\x7fabc.', 'is damaged'),
    'wrong magic': (b'\x89PNG\r\n\x1a\n' + bytes(100), 'no PyTorch checkpoint, no safetensors'),
    'empty': (b'', 'no PyTorch checkpoint, no safetensors'),
    'nothing but STOP': (b'\x80\x02.', 'is damaged'),
    'no entry in the memo': (b'\x80\x02h\x05.', 'is damaged'),
    'items without a mark': (b'\x80\x02}K\x01K\x02u.', 'is damaged'),
    'odd items': (b'\x80\x02}(K\x01u.', 'is damaged'),
    'list as a key': (b'\x80\x02}]K\x01s.', 'a key that is a list'),
    'nested': (b'\x80\x02' + b']' * 300_000 + b'a' * 299_999 + b'.', 'nested deeper than'),
    'nested tuples as a key': (b'\x80\x02}K\x01' + b'2\x86' * 60 + b'K\x01s.', 'a key that is a tuple'),
    # What follows takes for ever, or gigabytes, where a value is hashed or written out, or a memo is a list.
    'a tree of tuples': (b'\x80\x02}K\x01]' + b'2\x86' * 60 + b's.', 'more than 2000000 values'),
    'a tree of lists': (b'\x80\x02}K\x01]' + b''.join(b'q%c0](h%ch%ce' % (n, n, n) for n in range(60)) + b's.',
                        'more than 2000000 values'),
    'a list that holds itself': (b'\x80\x02}K\x01]q\x00h\x00as.', 'nested deeper'),
    'a tree as the type of an array': (array(dtype=b'cnumpy\ndtype\n]' + b'2\x86' * 60 + b'\x85R'), 'an array of type'),
    'a tree as a shape': (array(b']' + b'2\x86' * 60), 'an array of shape'),
    'a tree in a set': (called('builtins', 'set', b']' + b'2\x86' * 60), 'builtins.set'),
    'a place far out in the memo': (b'\x80\x02}r\xff\xff\xff\x7f.', None),
    'bytes that are not there': (b'\x80\x05\x96' + (2**33).to_bytes(8, 'little') + b'abc.', 'is damaged'),
    'state for a class': (b'\x80\x02}K\x01' + name('numpy', 'dtype') + b'N}U\x0aKNOWN_TYPEK\x01s\x86bs.',
                          'a state for a type'),
    'list at the top': (pickle.dumps([1]), 'holds a list'),
}


def peak(function):
    """Bytes that Python held at most during `function`, and whether the process grew by more than 200 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 200_000
    finally:
        tracemalloc.stop()


def refused(path, match):
    def read():
        with pytest.raises(ValueError, match=match) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
    held, grown = peak(read)
    assert held < 50e6 and not grown
    assert not os.path.exists('ran')


def test_pickles(subtests, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'model.pkl'
    for case, (content, match) in PICKLES.items():
        with subtests.test(case):
            path.write_bytes(content)
            if match is None:  # no harm is done
                held, grown = peak(partial(read_checkpoint, path))
                assert held < 50e6 and not grown
            else:
                refused(path, match)


def rewritten(path, content, change, compress=zipfile.ZIP_STORED):
    """torch.save of `content` with `change(name, bytes)` for each entry of the zip."""
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compress) as archive:
        for entry, data in entries.items():
            data = change(entry, data)
            if data is not None:
                archive.writestr(entry, data)


def in_pickle(old, new):
    def change(entry, data):
        if entry.endswith('data.pkl'):
            assert old in data
            data = data.replace(old, new)
        return data
    return change


def torch_pickle(content):
    """A zip of torch.save whose pickle is `content`."""
    def change(entry, data):
        return content if entry.endswith('data.pkl') else data
    return change


BIG = b'\x8a\x06' + (10**13).to_bytes(6, 'little')
ZIPS = {
    'storage of terabytes': (in_pickle(b'K\x04tq\x07Q', BIG + b'tq\x07Q'), 'storage 0 claims 40000000000000 bytes'),
    'storage larger than its record': (in_pickle(b'K\x04tq\x07Q', b'K\x05tq\x07Q'),
                                       'claims 20 bytes, the file holds 16'),
    'storage of more bytes a value': (in_pickle(b'FloatStorage', b'DoubleStorage'), 'claims 32 bytes'),
    'record that is missing': (lambda entry, data: None if entry.endswith('data/0') else data, 'the file holds none'),
    'view outside the storage': (in_pickle(b'K\x04\x85q\x08', b'M\xff\x7f\x85q\x08'), 'damaged'),
    'view that repeats a value terabytes': (
        in_pickle(b'K\x04\x85q\x08K\x01\x85', BIG + b'\x85q\x08K\x00\x85'), 'fewer values than its shape'),
    'array of terabytes': (torch_pickle(array(b'(' + TERABYTES + b't')), 'takes 40000000000000 bytes'),
    'array of terabytes by reconstruct': (torch_pickle(
        b'\x80\x02}U\x01a' + ARRAY.replace(b'K\x00\x85', TERABYTES + b'\x85') + b's.'), None),
    'array of terabytes by its class': (torch_pickle(
        b'\x80\x02}U\x01a' + name('numpy', 'ndarray') + TERABYTES + b'\x85Rs.'), None),
    'array of objects': (torch_pickle(array(
        dtype=FLOAT.replace(b'f4', b'O8'), data=b'](K\x01K\x02e')), "an array of type 'O8'"),
    'tensor of terabytes by its class': (torch_pickle(called('torch', 'Tensor', TERABYTES)), 'torch.Tensor'),
    'storage of terabytes by its class': (torch_pickle(called('torch', 'FloatStorage', TERABYTES)), 'is damaged'),
    'bytearray of terabytes': (torch_pickle(called('__builtin__', 'bytearray', TERABYTES)), 'builtins.bytearray'),
    'tensor without values': (torch_pickle(called(
        'torch._utils', '_rebuild_meta_tensor_no_storage', name('torch', 'float32'), BIG + b'\x85', b'K\x01\x85',
        b'\x89')), '_rebuild_meta_tensor_no_storage'),
    'function': (torch_pickle(called('os', 'system', b'U\x09touch ran')), 'os.system'),
    'getattr of a module': (torch_pickle(called('__builtin__', 'getattr', name('os', 'path'), b'U\x04join')),
                            'os.path'),
    'function of torch': (torch_pickle(called('torch', 'load', b'U\x01a')), 'torch.load'),
    'own module': (torch_pickle(called('mmdet.checkpoints', 'read_checkpoint', b'U\x01a')), 'read_checkpoint'),
}


def test_torch_zips(subtests, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'model.pth'
    for case, (change, match) in ZIPS.items():
        with subtests.test(case):
            rewritten(path, dict(a=torch.ones(4)), change)
            if match is None:  # the claim is not believed: nothing is made
                held, grown = peak(partial(read_checkpoint, path))
                assert held < 50e6 and not grown and len(read_checkpoint(path)['a']) == 0
            else:
                refused(path, match)


def test_compressed_zip(tmp_path):
    path = tmp_path / 'bomb.pth'
    rewritten(path, dict(a=torch.zeros(2_000_000)), lambda entry, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1e5
    refused(path, 'compressed entries')


def test_one_changed_byte_is_noticed(tmp_path):
    """Anywhere in the file, but for dates and other fields of the zip that nobody reads."""
    path = tmp_path / 'model.pth'
    content = dict(a=torch.arange(64.), b=torch.arange(8))
    torch.save(content, path)
    whole = bytearray(path.read_bytes())
    for place in range(0, len(whole), 29):
        changed = whole.copy()
        changed[place] ^= 16
        path.write_bytes(changed)
        try:
            read = read_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            torch.testing.assert_close(read, content, rtol=0, atol=0)
    value = whole.index(torch.arange(64.).numpy().tobytes()) + 5
    whole[value] ^= 1
    path.write_bytes(whole)
    refused(path, 'Bad CRC-32.*data/0')


def test_entries_that_share_their_bytes(tmp_path):
    path = tmp_path / 'overlap.pth'
    torch.save(dict(a=torch.zeros(100_000), b=torch.ones(100_000)), path)
    with zipfile.ZipFile(path, 'a') as archive:
        entry = archive.getinfo('overlap/data/0')
        for number in range(2, 20):
            other = zipfile.ZipInfo(f'overlap/data/{number}')
            other.file_size, other.compress_size, other.CRC = entry.file_size, entry.compress_size, entry.CRC
            other.header_offset = entry.header_offset
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
        archive._didModify = True
    refused(path, 'entries that overlap')


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_two_entries_of_one_name(tmp_path):
    path = tmp_path / 'two.pth'
    torch.save(dict(a=torch.ones(4)), path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('two/data.pkl', called('os', 'system', b'U\x01a'))
    refused(path, 'two entries of one name')


def legacy(content):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize(('old', 'new', 'match'), [
    (b'K\x04Nt', BIG + b'Nt', 'storages claim 40000000000000 bytes'),
    (b'ctorch\nFloatStorage\n', b'cos\nsystem\n', 'os.system'),
    (b'ccollections\nOrderedDict\n', b'c__builtin__\neval\n', 'builtins.eval'),
])
def test_older_torch_files(tmp_path, old, new, match):
    path = tmp_path / 'old.pth'
    content = legacy(dict(a=torch.ones(4)))
    assert old in content
    path.write_bytes(content)
    assert torch.equal(read_checkpoint(path)['a'], torch.ones(4))
    path.write_bytes(content.replace(old, new))
    refused(path, match)
    path.write_bytes(content[:-10])
    refused(path, 'damaged')


PLAIN = dict(numbers=[1, -2, 2**40, 1.5, True, None], text='tête', raw=b'\x00\xff', pair=(1, (2, 3), ()),
             ordered=OrderedDict(b=1, a={}), array=np.arange(6, dtype='>i2').reshape(2, 3),
             flags=np.array([True, False]), fortran=np.asfortranarray(np.arange(6.).reshape(2, 3)),
             scalar=np.float32(1.5), words=np.array(['ab', 'c']))


@pytest.mark.parametrize('protocol', range(6))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    """What Python's own unpickler gives is what is read."""
    path = tmp_path / 'plain.pkl'
    content = {key: value for key, value in PLAIN.items()
               if protocol > 1 or not isinstance(value, (np.generic, np.ndarray))}
    path.write_bytes(pickle.dumps(content, protocol))
    read = read_checkpoint(path)
    assert read.keys() == content.keys()
    for key, value in content.items():
        if isinstance(value, (np.generic, np.ndarray)):
            np.testing.assert_array_equal(read[key], value)
            assert read[key].dtype == value.dtype.newbyteorder('=')
        else:
            assert read[key] == value


def test_python_2(tmp_path):
    path = tmp_path / 'plain.pkl'
    content = dict(a=np.arange(3, dtype='f4'), b=dict(c=[1, 2.5, 'text' * 100]), d=np.float64(2))
    raw = python2_pickle.dumps(content)
    path.write_bytes(raw)
    expected = pickle.loads(raw, encoding='latin1')  # NumPy's word for it
    read = read_checkpoint(path)
    np.testing.assert_array_equal(read['a'], expected['a'])
    assert read['b'] == expected['b'] == content['b'] and read['d'] == expected['d'] == 2


def test_arrays_are_written_again_as_arrays(tmp_path):
    path = tmp_path / 'log.pth'
    torch.save(dict(history=np.arange(4.)), path)
    again = pickle.dumps(read_checkpoint(path)['history'])
    assert b'mmdet' not in again
    assert type(pickle.loads(again)) is np.ndarray


def test_struct_of_the_big_claims():
    assert struct.unpack('<Q', BIG[2:] + b'\x00\x00')[0] == 10**13
