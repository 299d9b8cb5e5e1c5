"""Each test of an operator runs on every device, by the extension and by torchvision."""
import importlib

import pytest
import torch

from mmdet import ops


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def extension(device):
    """For tests of what only the extension promises."""
    if ops.backend(device) != 'mmdet':
        pytest.skip(f'the extension was not built for {device}')


@pytest.fixture(params=['mmdet', 'torchvision'])
def served_by(request, device, monkeypatch):
    dispatch = importlib.import_module('mmdet.ops.dispatch')
    if request.param == 'torchvision':
        monkeypatch.setattr(dispatch, '_devices', ())
        dispatch.kernels.cache_clear()
    elif ops.backend(device) != 'mmdet':
        pytest.skip(f'the extension was not built for {device}')
    yield request.param
    dispatch.kernels.cache_clear()
