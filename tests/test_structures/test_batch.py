"""A batch on its way to a GPU."""
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from mmdet.structures import batch
from mmdet.structures.batch import to_device


def test_tensors_travel_in_one_copy(monkeypatch):
    tensors = [torch.rand(2, 3, 4), torch.tensor([[True, False, True]]), torch.arange(5), torch.zeros(0, 4),
               torch.arange(7, dtype=torch.uint8), torch.rand(4, 3, dtype=torch.float64).T, torch.tensor(2.5)]
    copied = []
    monkeypatch.setattr(torch.Tensor, 'to', lambda tensor, *args, **kwargs: copied.append(args) or tensor.clone())
    arrived = to_device(tensors, 'cuda')
    assert copied == [('cuda',)] and len({tensor.untyped_storage().data_ptr() for tensor in arrived}) == 1
    for value, expected in zip(arrived, tensors, strict=True):
        assert value.dtype == expected.dtype and value.data_ptr() % value.element_size() == 0
        assert torch.equal(value, expected)


def test_a_copy_is_made_beside_the_work_before_it(monkeypatch):
    calls = []

    def stream(name):
        return SimpleNamespace(name=name, device='cuda:0',
                               wait_stream=lambda other: calls.append(f'{name} waits for {other.name}'))

    @contextmanager
    def entered(other):
        calls.append(f'enter {other.name}')
        yield
        calls.append(f'leave {other.name}')
    compute = stream('compute')
    for name, value in dict(is_available=lambda: True, current_stream=lambda device: compute, stream=entered,
                            Stream=lambda device: stream(f'copies of {device}')).items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, 'to', lambda tensor, device, non_blocking: calls.append(
        f'to {device}, {non_blocking}') or tensor)
    monkeypatch.setattr(torch.Tensor, 'record_stream', lambda tensor, other: calls.append(f'used by {other.name}'))
    batch._copy_stream.cache_clear()
    to_device([torch.zeros(3)], 'cuda')
    batch._copy_stream.cache_clear()
    assert calls == ['enter copies of cuda:0', 'to cuda, True', 'leave copies of cuda:0',
                     'compute waits for copies of cuda:0', 'used by compute']


@pytest.mark.gpu
def test_batches_arrive_whole_while_the_device_works():
    work = torch.rand(2048, 2048, device='cuda')
    sums, expected = [], []
    for number in range(50):
        images = torch.full((2, 3, 256, 320), number, dtype=torch.uint8)
        for _ in range(20):  # the copy overtakes these
            work = (work @ work).clamp_(max=1)
        one, = to_device([images], 'cuda')
        several = to_device([images, torch.tensor([number]), torch.tensor([True])], 'cuda')
        sums += [one.sum(), several[0].sum(), several[1].sum()]  # which are freed while the device has yet to read them
        expected += [images.sum(), images.sum(), number]
    assert [int(value) for value in sums] == [int(value) for value in expected]
