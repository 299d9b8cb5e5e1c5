import http.server
import pickle
import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mmdet.checkpoints import SAFE_CLASSES, read_checkpoint, write_file
from mmdet.errors import UserError


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ('BOOM',)


def saved(path, content):
    torch.save(content, path)
    return path


def test_tensors_and_plain_data(tmp_path):
    content = dict(state_dict=OrderedDict(a=torch.arange(3.)), meta=dict(epoch=2, classes=('a', 'b'), none=None))
    read = read_checkpoint(saved(tmp_path / 'a.pth', content))
    assert torch.equal(read['state_dict']['a'], torch.arange(3.))
    assert read['meta'] == content['meta']


@pytest.mark.parametrize('value', [np.float64(1.5), np.float32(2), np.int64(3), np.bool_(True),
                                   np.arange(6.).reshape(2, 3), np.array(['ab', 'c'])], ids=repr)
def test_numpy_values(tmp_path, value):
    read = read_checkpoint(saved(tmp_path / 'a.pth', dict(value=value)))['value']
    np.testing.assert_array_equal(read, value)
    assert read.dtype == value.dtype


def test_logs_of_an_unknown_class_are_skipped(tmp_path, monkeypatch):
    from mmengine.logging import HistoryBuffer

    import mmdet.engine  # noqa: F401
    path = saved(tmp_path / 'a.pth', dict(log=HistoryBuffer([1.], [1]), weight=torch.ones(2)))
    assert read_checkpoint(path)['log'].current() == 1
    from mmdet.checkpoints.torch_file import Skipped
    monkeypatch.setitem(SAFE_CLASSES, 'mmengine.logging.history_buffer.HistoryBuffer', Skipped)
    assert torch.equal(read_checkpoint(path)['weight'], torch.ones(2))


def test_code_in_a_file_is_named_and_not_run(tmp_path, capsys):
    path = saved(tmp_path / 'bomb.pth', dict(state_dict={}, extra=Bomb()))
    with pytest.raises(ValueError, match='bomb.pth holds an object of type (builtins.)?print'):
        read_checkpoint(path)
    assert 'BOOM' not in capsys.readouterr().out
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match='bomb.pth'):
        read_checkpoint(path)
    assert 'BOOM' not in capsys.readouterr().out


def test_getattr_in_a_file_reaches_nothing(tmp_path):
    import mmdet.engine  # noqa: F401

    class Reach:
        def __reduce__(self):
            return getattr, (torch.nn.Module, 'load_state_dict')
    with pytest.raises(ValueError, match='holds an object of type'):
        read_checkpoint(saved(tmp_path / 'a.pth', Reach()))


def test_damaged_and_missing_files_are_named(tmp_path):
    path = saved(tmp_path / 'cut.pth', dict(a=torch.ones(1000)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match='cut.pth is no PyTorch checkpoint'):
        read_checkpoint(path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match='cut.pth is no PyTorch checkpoint'):
        read_checkpoint(path)
    path.write_text('<html>not found</html>')
    with pytest.raises(ValueError, match='cut.pth is no PyTorch checkpoint'):
        read_checkpoint(path)
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')
    with pytest.raises(ValueError, match='cut.pth is a pointer of Git LFS: fetch'):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match='none.pth does not exist'):
        read_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match='is a folder'):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(saved(tmp_path / 'list.pth', [1]))


@pytest.mark.parametrize('content, message', [
    (dict(state_dict=None), 'state_dict is a NoneType'), (dict(state_dict=[1]), 'state_dict is a list'),
    (dict(state_dict={0: torch.ones(1)}), '0 is the name of an entry'), ({7: torch.ones(1)}, '7 is the name'),
    (dict(state_dict={b'a': torch.ones(1)}), "b'a' is the name"), (dict(state_dict={}, meta=[1]), 'meta is a list'),
    (dict(state_dict={}, meta=dict(conventions=dict(mean='red'))), "meta.conventions.mean is 'red'")])
def test_dicts_that_hold_something_else_are_named(tmp_path, content, message):
    path = saved(tmp_path / 'odd.pth', content)
    with pytest.raises(UserError, match=f'odd.pth.*{message}'):
        read_checkpoint(path)


def test_safetensors(tmp_path):
    weights = dict(a=torch.randn(2, 3), b=torch.arange(3), c=torch.randn(4, 4).T, d=torch.ones(1, dtype=torch.bfloat16))
    write_file(tmp_path / 'new/a.safetensors', weights, dict(classes=('a', 'b'), epoch=2))
    read = read_checkpoint(tmp_path / 'new/a.safetensors')
    torch.testing.assert_close(read['state_dict'], weights, rtol=0, atol=0)
    assert read['meta'] == dict(classes=['a', 'b'], epoch=2)
    whole = (tmp_path / 'new/a.safetensors').read_bytes()
    for content in (whole[:-5], whole[:40], whole.replace(b'"F32"', b'"F99"'), whole.replace(b'[2,3]', b'[9,3]'),
                    whole.replace(rb'{\"classes', rb'\"{classes')):
        (tmp_path / 'bad.safetensors').write_bytes(content)
        with pytest.raises(UserError, match='bad.safetensors'):
            read_checkpoint(tmp_path / 'bad.safetensors')


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/served; downloads go to tmp_path/home. Yields (its URL, the paths asked for)."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'served'))

        def log_message(self, *args):
            asked.append(self.path)

    (tmp_path / 'served').mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setenv('no_proxy', '*')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{httpd.server_port}', asked
        httpd.shutdown()


def test_url_is_downloaded_once(server, tmp_path):
    url, asked = server
    saved(tmp_path / 'served/net.pth', dict(a=torch.ones(2)))
    for _ in range(2):
        assert torch.equal(read_checkpoint(f'{url}/net.pth')['a'], torch.ones(2))
    assert asked == ['/net.pth']
    kept = [path for path in (tmp_path / 'home').rglob('*') if path.is_file()]
    assert [path.name for path in kept] == ['net.pth']


def test_urls_of_one_last_part_are_two_files(server, tmp_path):
    url, asked = server
    for folder in ('one', 'two'):
        (tmp_path / 'served' / folder).mkdir()
        saved(tmp_path / f'served/{folder}/net.pth', dict(name=folder))
    for folder in ('one', 'two', 'one'):
        assert read_checkpoint(f'{url}/{folder}/net.pth')['name'] == folder
    assert read_checkpoint(f'{url}/one/net.pth?version=2')['name'] == 'one'
    assert asked == ['/one/net.pth', '/two/net.pth', '/one/net.pth?version=2']


@pytest.mark.parametrize('content', [b'<html>sign in</html>', None, b''], ids=['HTML', 'cut', 'empty'])
def test_what_is_no_checkpoint_does_not_stay(server, tmp_path, content):
    url, _ = server
    path = saved(tmp_path / 'served/net.pth', dict(a=torch.ones(5000)))
    whole = path.read_bytes()
    path.write_bytes(whole[:9000] if content is None else content)
    with pytest.raises(FileNotFoundError, match=f'cannot download {url}/net.pth.*what came is no PyTorch checkpoint'):
        read_checkpoint(f'{url}/net.pth')
    assert not [path for path in (tmp_path / 'home').rglob('*') if path.is_file()]
    path.write_bytes(whole)
    assert read_checkpoint(f'{url}/net.pth')['a'].sum() == 5000


def test_failed_download_says_how_to_give_the_file(server):
    url, _ = server
    with pytest.raises(FileNotFoundError, match=rf'cannot download {url}/net.pth: HTTP Error 404.*home/hub/checkpoints/'
                                                r'\w+/net.pth.*model.backbone.init_cfg.checkpoint=/path/to/net.pth'):
        read_checkpoint(f'{url}/net.pth')


def test_download_with_another_content_than_its_name_says_is_refused(server, tmp_path):
    url, _ = server
    saved(tmp_path / 'served/net-01234567.pth', dict(a=torch.ones(2)))
    with pytest.raises(FileNotFoundError, match='cannot download .*invalid hash'):
        read_checkpoint(f'{url}/net-01234567.pth')
    assert not (tmp_path / 'home/hub/checkpoints/net-01234567.pth').exists()
