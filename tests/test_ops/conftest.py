"""Each test of an operator runs on every device, by the extension and by torchvision."""
import pytest
import torch

from mmdet import ops
from mmdet.ops.extension import KERNELS, SERVED


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def device(request):
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    """float32 is float32 on GPUs, too."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture
def cpu_kernels():
    """For tests of kernels that are for the CPU alone; cuDNN, cuBLAS and plain PyTorch serve on GPUs."""
    if ops.backend() != 'mmdet':
        pytest.skip('need the extension, which was not built')


@pytest.fixture
def extension(device):
    """For tests of what only the extension promises."""
    if ops.backend(device) != 'mmdet':
        pytest.skip(f'need the extension, which was not built for {device}')


@pytest.fixture(params=['mmdet', 'torchvision'])
def served_by(request, device, monkeypatch):
    KERNELS.clear()  # it has kept what SERVED said, and shall not keep what it says here
    if request.param == 'torchvision':
        monkeypatch.setitem(SERVED, device.type, False)
    if ops.backend(device) != request.param:
        pytest.skip(f'need the extension, which was not built for {device}')
    yield
    KERNELS.clear()


@pytest.fixture
def by_threads():
    """Returns what a function gives under each of these numbers of threads."""
    threads = torch.get_num_threads()

    def results(function, counts=(1, 2, 3)):
        given = []
        for count in counts:
            torch.set_num_threads(count)
            given.append(function())
        return given
    yield results
    torch.set_num_threads(threads)
