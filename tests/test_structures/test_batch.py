"""A batch on its way to a GPU."""
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from mmdet.structures import batch
from mmdet.structures.batch import to_device, to_host


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


def test_predictions_come_back_in_one_copy(monkeypatch):
    """From a device of no numbers in one copy; on the CPU they stay where they are."""
    boxes = torch.rand(3, 4, requires_grad=True)
    same, = to_host([boxes])
    assert same.data_ptr() == boxes.data_ptr() and not same.requires_grad
    kinds = [boxes.detach(), torch.rand(3), torch.arange(3), torch.zeros(0, 4)]
    copied = []
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda tensor: copied.append(tensor) or torch.empty(
        tensor.shape, dtype=tensor.dtype))
    back = to_host([tensor.to('meta') for tensor in kinds])
    assert [(t.shape, t.dtype, t.device.type) for t in back] == [(t.shape, t.dtype, 'cpu') for t in kinds]
    assert len(copied) == 1 and copied[0].device.type == 'meta'


@pytest.mark.gpu
def test_predictions_come_back_as_they_were():
    kinds = [torch.rand(3, 4), torch.rand(3), torch.arange(3), torch.zeros(0, 4), torch.rand(4, 3).T]
    for value, expected in zip(to_host([tensor.cuda() for tensor in kinds]), kinds, strict=True):
        assert value.device.type == 'cpu' and torch.equal(value, expected)


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
