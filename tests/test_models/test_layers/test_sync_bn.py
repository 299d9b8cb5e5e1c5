"""SyncBN on two processes against BN on one process that has the rows of both."""
import logging

import pytest
import torch
from fake_cuda import Transfers, backward, move
from torch import distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from two_processes import run

from mmdet.models.layers import ConvModule, SyncBN, sync_bn

ROWS = [(3, 3), (5, 1), (0, 4), (4, 0), (0, 0)]


def model(kind):
    """Convolutions, plain, grouped and deformable, each of which sees what the norm before it gave."""
    torch.manual_seed(0)
    norm = dict(type=kind)
    module = nn.Sequential(ConvModule(3, 8, 3, norm_cfg=norm),
                           ConvModule(8, 6, 3, padding=2, dilation=2, groups=2, norm_cfg=norm),
                           ConvModule(6, 5, 3, padding=1, conv_cfg=dict(type='DCNv2'),
                                      norm_cfg=dict(norm, momentum=None)))
    return module.double()


def forward_backward(module, x):
    x = x.clone().requires_grad_()
    out = module(x)
    ((out + x[:, :1, 2:, 2:].square()) ** 3).sum().backward()
    return dict(out=out.detach(), grad_x=x.grad, grads=[p.grad for p in module.parameters()],
                state=[b.double() for b in module.buffers()])


def batch(rows, seed=1):
    return torch.randn(rows, 3, 7, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1


def on_one_of_two(rank):
    models = [nn.parallel.DistributedDataParallel(model('SyncBN'), broadcast_buffers=False) for _ in ROWS]
    return [forward_backward(module, batch(sum(rows)).split(rows)[rank])
            for module, rows in zip(models, ROWS, strict=True)]


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    return run(on_one_of_two, tmp_path_factory.mktemp('two'))


@pytest.mark.parametrize('i', range(len(ROWS)), ids=lambda i: f'rows_{ROWS[i][0]}_{ROWS[i][1]}')
def test_two_processes_equal_one_with_the_joined_batch(results, i):
    ranks = [result[i] for result in results]
    expected = forward_backward(model('BN'), batch(sum(ROWS[i])))
    exact = dict(rtol=1e-10, atol=1e-10)
    for key in ('out', 'grad_x'):
        torch.testing.assert_close(torch.cat([rank[key] for rank in ranks]), expected[key], **exact)
    for grads in zip(*(rank['grads'] for rank in ranks), expected['grads'], strict=True):
        for of_rank in grads[:2]:  # the mean of both, by DistributedDataParallel
            torch.testing.assert_close(of_rank, grads[2] / 2, **exact)
    for rank in ranks:
        for value, target in zip(rank['state'], expected['state'], strict=True):
            torch.testing.assert_close(value, target, **exact)


def test_one_process_is_batch_norm_and_says_so(caplog):
    sync_bn._say_plain.cache_clear()
    x = batch(4)
    with caplog.at_level(logging.INFO):
        logger = logging.getLogger()
        handler = caplog.handler
        sync_bn.print_log, original = (lambda text, **_: logger.info(text)), sync_bn.print_log
        try:
            results = forward_backward(model('SyncBN'), x), forward_backward(model('BN'), x)
        finally:
            sync_bn.print_log = original
    assert [record.message for record in handler.records].count('SyncBN: there is one process, so it works as BN') == 1
    for value, expected in zip(results[0]['grads'], results[1]['grads'], strict=True):
        assert torch.equal(value, expected)
    assert torch.equal(results[0]['out'], results[1]['out'])


def test_one_process_without_rows():
    module = model('SyncBN')
    before = [buffer.clone() for buffer in module.buffers()]
    out = forward_backward(module, batch(0))
    assert out['out'].shape == (0, 5, 5, 4)
    assert all(not grad.any() for grad in out['grads'])
    assert all(torch.equal(*pair) for pair in zip(before, module.buffers(), strict=True))


@pytest.mark.gpu
def test_one_gpu_process_is_batch_norm():
    x = batch(4).cuda()
    results = forward_backward(model('SyncBN').cuda(), x), forward_backward(model('BN').cuda(), x)
    torch.testing.assert_close(results[0]['grad_x'], results[1]['grad_x'])


@pytest.mark.parametrize('rows', [2, 0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_two_gpu_processes_wait_for_no_device(rows, dtype):
    """With shapes alone: FakeTensorMode refuses to tell a value, `Transfers` notes copies between host and device."""
    if not torch.backends.cuda.is_built():
        pytest.skip('a PyTorch without CUDA aborts where a tensor said to be there needs a gradient')
    dist.init_process_group('fake', store=FakeStore(), rank=0, world_size=2)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), Transfers() as transfers:
            norm = move(SyncBN(8))
            y = torch.empty(rows, 8, 5, 4, device='cuda', dtype=dtype, requires_grad=True)
            out = norm(y)
            backward(out.float().sum())
        assert not transfers.lines
        assert out.dtype == dtype and out.shape == y.shape == y.grad.shape and norm.weight.grad.shape == (8,)
    finally:
        dist.destroy_process_group()
