"""Who serves is chosen at import, so each choice is watched in a fresh process."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet import ops
from mmdet.ops import conv_kernels, extension

ROOT = Path(__file__).parents[2]
REPORT = 'from mmdet import ops; import sys; print(ops.backend(), *{"torchvision", "pycocotools"} & set(sys.modules))'


def run(code, **environment):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)


HIDE_THE_EXTENSION = """
import pathlib
glob = pathlib.Path.glob
pathlib.Path.glob = lambda self, pattern: [] if pattern.startswith('_C') else glob(self, pattern)
"""


def test_torchvision_by_force():
    done = run(REPORT, MMDET_OPS='torchvision')
    assert done.stdout.strip() == 'torchvision' and 'serves instead' not in done.stderr


def test_extension_by_force():
    if ops.backend() != 'mmdet':
        pytest.skip('the extension was not built')
    assert run(REPORT, MMDET_OPS='mmdet').stdout.strip() == 'mmdet'


def test_missing_extension_is_said_once():
    done = run(HIDE_THE_EXTENSION + REPORT + '\nfrom mmdet.ops import nms', MMDET_OPS='')
    assert done.stdout.strip() == 'torchvision'
    assert done.stderr.count('torchvision.ops serves instead of the compiled extension') == 1


def test_missing_extension_by_force_is_an_error():
    done = run(HIDE_THE_EXTENSION + REPORT, MMDET_OPS='mmdet')
    assert done.returncode != 0 and 'MMDET_OPS=mmdet, but the extension does not load' in done.stderr


def test_unknown_choice_is_an_error():
    done = run(REPORT, MMDET_OPS='mmcv')
    assert done.returncode != 0 and "MMDET_OPS='mmcv': must be mmdet, torchvision or unset" in done.stderr


@pytest.fixture
def fresh(monkeypatch):
    """As if the extension had just been loaded, and its CUDA kernels on a machine with a GPU."""
    monkeypatch.setattr(extension, 'SERVED', extension.Served(cpu=True, meta=True))
    monkeypatch.setattr(extension, 'has_cuda', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)


def test_a_driver_too_old_is_said_once_and_torchvision_serves(fresh, monkeypatch, caplog):
    def fails():
        raise RuntimeError('CUDA driver version is insufficient for CUDA runtime version')
    monkeypatch.setattr(extension, '_try_cuda', fails)
    monkeypatch.delenv('MMDET_OPS', raising=False)
    assert [ops.backend(device) for device in ('cuda', 'cuda', 'cpu')] == ['torchvision', 'torchvision', 'mmdet']
    assert caplog.text.count('driver version is insufficient') == 1
    extension.SERVED.pop('cuda')
    monkeypatch.setenv('MMDET_OPS', 'mmdet')
    with pytest.raises(RuntimeError, match='driver version is insufficient'):
        ops.backend('cuda')


def test_a_gpu_is_tried_when_its_first_tensor_comes(fresh, monkeypatch):
    tried = []
    monkeypatch.setattr(extension, '_try_cuda', lambda: tried.append(1))
    assert 'cuda' not in extension.SERVED
    assert ops.backend('cuda') == ops.backend('cuda') == 'mmdet' and tried == [1]
    assert ops.backend('mps') == 'torchvision'


def test_an_operator_that_older_sources_lack(fresh, monkeypatch, caplog):
    if not hasattr(torch.ops.mmdet, 'nms'):
        pytest.skip('the extension was not built')
    monkeypatch.delenv('MMDET_OPS', raising=False)
    extension.fake('later')(None)
    assert ops.backend() == 'torchvision' and 'older sources, without later' in caplog.text


CONV = """
import torch
from mmdet import ops
x, weight = torch.randn(2, 16, 40, 40), torch.randn(16, 16, 3, 3, requires_grad=True)
y = ops.conv2d(x, weight, padding=(1, 1))
same = torch.equal(y, torch.nn.functional.conv2d(x, weight, padding=1))
given = ops.conv2d_weight_grad(x, weight.shape, y.detach(), padding=(1, 1))
print(same, torch.equal(given, torch.nn.grad.conv2d_weight(x, weight.shape, y.detach(), padding=1)),
      type(y.grad_fn).__name__, ops.backend())
"""


def test_our_convolutions_can_be_turned_off():
    told = run(CONV, MMDET_CONV='torch').stdout.split()
    assert told[:3] == ['True', 'True', 'ConvolutionBackward0']
    assert told[3] == ops.backend()


def test_unknown_choice_of_convolutions_is_an_error(monkeypatch):
    monkeypatch.setenv('MMDET_CONV', 'off')
    with pytest.raises(ValueError, match="MMDET_CONV='off': must be torch or unset"):
        conv_kernels._wanted()
