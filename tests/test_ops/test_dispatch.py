"""Who serves is chosen at import, so each choice is watched in a process that has not imported mmdet."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from warm_process import Script

from mmdet import ops
from mmdet.ops import conv_kernels, extension

ROOT = Path(__file__).parents[2]
REPORT = 'from mmdet import ops; print(ops.backend())'


def fresh_process(code, choice):
    """One that has imported nothing, and whose log goes where a user's goes."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'MMDET_OPS': choice}
    return subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)


@pytest.fixture
def run(tmp_path):
    """Its exit status, and what it prints on stdout and stderr."""
    def run(code, **environment):
        path = tmp_path / 'script.py'
        path.write_text(f'import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}')
        process = Script(path, **environment)
        out, err = process.told()
        return process.exitcode, out.strip(), err
    return run


HIDE_THE_EXTENSION = """
import pathlib
glob = pathlib.Path.glob
pathlib.Path.glob = lambda self, pattern: [] if pattern.startswith('_C') else glob(self, pattern)
"""


def test_torchvision_by_force(run):
    _, told, errors = run(REPORT, MMDET_OPS='torchvision')
    assert told == 'torchvision' and 'serves instead' not in errors


def test_extension_by_force():
    if ops.backend() != 'mmdet':
        pytest.skip('the extension was not built')
    done = fresh_process(REPORT + '; import sys; print({"torchvision", "pycocotools"} & set(sys.modules))', 'mmdet')
    assert done.stdout.split('\n')[:2] == ['mmdet', 'set()'], done.stderr


def test_missing_extension_is_said_once():
    done = fresh_process(HIDE_THE_EXTENSION + REPORT + '\nfrom mmdet.ops import nms', '')
    assert done.stdout.strip() == 'torchvision'
    assert done.stderr.count('torchvision.ops serves instead of the compiled extension') == 1


def test_missing_extension_by_force_is_an_error(run):
    status, _, errors = run(HIDE_THE_EXTENSION + REPORT, MMDET_OPS='mmdet')
    assert status != 0 and 'MMDET_OPS=mmdet, but the extension does not load' in errors


def test_unknown_choice_is_an_error(run):
    status, _, errors = run(REPORT, MMDET_OPS='mmcv')
    assert status != 0 and "MMDET_OPS='mmcv': must be mmdet, torchvision or unset" in errors


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


def test_our_convolutions_can_be_turned_off(run):
    told = run(CONV, MMDET_CONV='torch')[1].split()
    assert told[:3] == ['True', 'True', 'ConvolutionBackward0']
    assert told[3] == ops.backend()


def test_unknown_choice_of_convolutions_is_an_error(monkeypatch):
    monkeypatch.setenv('MMDET_CONV', 'off')
    with pytest.raises(ValueError, match="MMDET_CONV='off': must be torch, cudnn or unset"):
        conv_kernels._wanted()


@pytest.mark.gpu
def test_kernels_run_where_their_tensors_lie():
    """On the second GPU while the first is the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip('needs two GPUs')
    features = torch.randn(2, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    corners = torch.rand(20, 2) * 8
    boxes = torch.cat([corners, corners + 1 + torch.rand(20, 2) * 7], 1)
    rois, scores = torch.cat([torch.arange(20)[:, None] % 2, boxes], 1), torch.rand(20)
    weight, bias = torch.rand(32), torch.rand(32)
    found = []
    for device in ('cpu', 'cuda:1'):
        x, own, best, scale, shift = (tensor.to(device) for tensor in (features, rois, scores, weight, bias))
        x.requires_grad_()
        pooled = ops.roi_align(ops.group_norm(x, 8, scale, shift), own, 7)
        pooled = ops.bias_relu(pooled.contiguous(memory_format=torch.channels_last), shift)
        pooled.square().sum().backward()
        found.append([pooled, x.grad, ops.nms(own[:, 1:], best, 0.5)])
        assert torch.cuda.current_device() == 0 and all(str(tensor.device) == device for tensor in found[-1])
    for value, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-3, atol=1e-3)
