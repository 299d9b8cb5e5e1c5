"""The ground truth on its way to a GPU."""
import torch

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
