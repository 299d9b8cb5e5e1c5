"""The kernel that matches boxes with objects gives what the matrix of their overlaps does, to the last bit."""
import pytest
import torch
from torch.library import opcheck

from mmdet.ops import match_boxes
from mmdet.ops.extension import KERNELS

RULES = [dict(pos=0.7, neg=(0., 0.3), least=0.3, low_quality=True, all_best=True, ignore=-1, of_box=True),
         dict(pos=0.5, neg=(0.1, 0.5), least=0., low_quality=True, all_best=False, ignore=0.4, of_box=True),
         dict(pos=0.5, neg=(0., 0.5), least=0.5, low_quality=False, all_best=True, ignore=0.6, of_box=False),
         dict(pos=0., neg=(0., 0.), least=0., low_quality=True, all_best=True, ignore=-1, of_box=True)]


@pytest.fixture(autouse=True)
def kernel(device):
    if not KERNELS['match_boxes', device.type]:
        pytest.skip(f'need a kernel that is not there for {device}')


def boxes_of(*shape, whole):
    corners, sides = torch.rand(*shape, 2) * 60, torch.rand(*shape, 2) * 40 - 3
    boxes = torch.cat([corners, corners + sides], -1)
    return (boxes / 10).round() * 10 if whole else boxes  # of whole tens many overlap alike, and some not at all


def given(images, shared, objects, whole, device):
    """boxes, objects, is_object, ignored, valid."""
    torch.manual_seed(0)
    tensors = (boxes_of(1 if shared else images, 700, whole=whole), boxes_of(images, objects, whole=whole),
               torch.rand(images, objects) > 0.3, boxes_of(images, 2, whole=whole), torch.rand(images, 700) > 0.2)
    return [tensor.to(device) for tensor in tensors]


@pytest.mark.parametrize('images, shared, objects, whole', [(3, True, 5, True), (2, False, 70, False),
                                                            (1, True, 1, True), (2, False, 0, False),
                                                            (0, True, 3, True)])
def test_equals_the_matrix(images, shared, objects, whole, device, monkeypatch):
    tensors = given(images, shared, objects, whole, device)
    odd = [tensor.clone() for tensor in tensors]
    odd[0][:, 3] = torch.tensor([float('-inf'), 0, float('inf'), 9])
    if images and objects > 1:
        odd[1][0, 1, 2] = float('nan')
        odd[0][-1, 4, 1] = float('nan')
    found = set()
    for rule in RULES:
        for boxes, targets, is_object, ignored, valid in (tensors, odd, [*tensors[:4], None]):
            args = boxes, targets, is_object, ignored, valid, *rule.values()
            with monkeypatch.context() as without:
                without.setitem(KERNELS, ('match_boxes', device.type), False)
                expected = match_boxes(*args)
            assert torch.equal(match_boxes(*args), expected), rule
            found |= set(expected.flatten().tolist())
    assert images * objects == 0 or {-2, -1, 0} <= found


def test_opcheck(device):
    *tensors, valid = given(2, True, 3, True, device)
    opcheck(torch.ops.mmdet.match_boxes, (*tensors, valid, 0.5, 0., 0.5, 0., True, True, 0.5, True))
    with pytest.raises(ValueError, match=r'match_boxes: boxes must be \(1 or B, N, 4\)'):
        match_boxes(*tensors, valid[:1], *RULES[0].values())
