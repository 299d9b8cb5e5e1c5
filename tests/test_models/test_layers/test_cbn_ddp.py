"""CBN in two DDP processes against two layers in one process whose gradients are averaged by hand."""
import copy

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import run

from mmdet.models.layers import ConvModule

STEPS = 6


def model():
    torch.manual_seed(0)
    norm = dict(type='CBN', buffer_num=2, burnin_iters=1)
    return nn.Sequential(
        ConvModule(3, 6, 3, norm_cfg=norm), ConvModule(6, 6, 3, padding=2, dilation=2, groups=2, norm_cfg=norm),
        ConvModule(6, 4, 3, padding=1, conv_cfg=dict(type='DCNv2'), norm_cfg=norm)).double()


def batch(t, rank):
    rows = 0 if (t, rank) == (3, 1) else 2 + rank  # at one step the second process has no RoIs
    generator = torch.Generator().manual_seed(10 * t + rank)
    return torch.randn(rows, 3, 6, 5, generator=generator, dtype=torch.float64) + rank


def loss(out):
    return (out ** 3).sum()


def train(module, optimizer, rank, steps):
    outputs = []
    for t in steps:
        optimizer.zero_grad()
        out = module(batch(t, rank))
        loss(out).backward()
        optimizer.step()
        outputs.append(out.detach())
    return outputs


def start(weights=None):
    module = model()
    if weights is not None:
        module.load_state_dict(weights)
    module = DistributedDataParallel(module, broadcast_buffers=True)
    return module, torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)


def on_one_of_two(rank):
    module, optimizer = start()
    outputs = train(module, optimizer, rank, range(3))
    saved = copy.deepcopy((module.module.state_dict(), optimizer.state_dict()))
    outputs += train(module, optimizer, rank, range(3, STEPS))
    resumed, optimizer = start(saved[0])
    optimizer.load_state_dict(saved[1])
    again = train(resumed, optimizer, rank, range(3, STEPS))
    return dict(outputs=outputs, again=again, state=dict(module.module.state_dict()))


def in_one_process():
    modules = [model(), model()]
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9) for module in modules]
    outputs = [[], []]
    for t in range(STEPS):
        for buffers in zip(*(module.buffers() for module in modules), strict=True):
            buffers[1].copy_(buffers[0])  # DDP sends the buffers of rank 0
        for rank, module in enumerate(modules):
            module.zero_grad()
            out = module(batch(t, rank))
            loss(out).backward()
            outputs[rank].append(out.detach())
        for parameters in zip(*(module.parameters() for module in modules), strict=True):
            mean = (parameters[0].grad + parameters[1].grad) / 2
            for parameter in parameters:
                parameter.grad = mean.clone()
        for optimizer in optimizers:
            optimizer.step()
    return outputs, [module.state_dict() for module in modules]


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    return run(on_one_of_two, tmp_path_factory.mktemp('two'))


def test_each_process_has_its_own_statistics_and_history(results):
    outputs, states = in_one_process()
    for rank in range(2):
        for value, expected in zip(results[rank]['outputs'], outputs[rank], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
        assert results[rank]['state'].keys() == states[rank].keys()
        for name, expected in states[rank].items():
            torch.testing.assert_close(results[rank]['state'][name], expected, rtol=1e-10, atol=1e-10)
    histories = [rank['state']['0.bn.cbn_slope'] for rank in results]
    assert (histories[0] - histories[1]).abs().max() > 0.1
    assert [rank['state']['0.bn.cbn_counters'].tolist() for rank in results] == [[6, 5], [5, 4]]


def test_resume_is_bit_for_bit_on_every_process(results):
    for rank in results:
        for value, expected in zip(rank['again'], rank['outputs'][3:], strict=True):
            assert torch.equal(value, expected)
