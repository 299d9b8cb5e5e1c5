import numpy as np
import pytest
import torch
from each import each
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api

from mmdet import ops
from mmdet.ops import paste_masks
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PastedMasks

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def masks():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(5, 2, generator=generator) * 30
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(5, 2, generator=generator)], 1)
    return PastedMasks(torch.rand(5, 28, 28, generator=generator), boxes, HEIGHT, WIDTH, 0.5)


def test_pixels_and_rles_are_the_same_masks(masks):
    expected = paste_masks(masks.probs, masks.boxes, HEIGHT, WIDTH, 0.5)
    assert len(masks) == 5
    assert torch.equal(masks.to_tensor(), expected) and masks.to_tensor(torch.float32).dtype == torch.float32
    assert masks.to_ndarray().dtype == np.uint8 and np.array_equal(masks.to_ndarray(), expected)
    assert np.array_equal(mask_api.decode(masks.rles()).transpose(2, 0, 1), expected)


@pytest.mark.parametrize('threshold', [0.5, 0.2, 0.9])
def test_windows_are_the_same_masks_and_nothing_is_built_beside_them(masks, threshold, monkeypatch):
    # Across every border, beyond the image, turned inside out, without width.
    boxes = torch.tensor([[-8.3, 5.1, 20.7, 70.2], [30., -20, 90, 60], [70, 50, 90, 60], [20, 20, 10, 10],
                          [5, 5, 5, 9]])
    masks = PastedMasks(masks.probs.repeat(2, 1, 1)[:, :14], torch.cat([masks.boxes, boxes]), HEIGHT, WIDTH, threshold)
    expected = masks.to_tensor().numpy()
    built = []
    monkeypatch.setattr(ops, 'paste_masks', lambda *args: built.append(paste_masks(*args)) or built[-1])
    windows = masks.windows
    assert np.array_equal(windows.paint(HEIGHT, WIDTH), expected)
    for box, mask in zip(windows.boxes, expected, strict=True):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0])
    assert all(len(mask) == 1 for mask in built) and max(mask.numel() for mask in built[:5]) < 30 * 30
    assert masks[:0].windows.boxes.shape == (0, 4)


@each('index', [2, -1, slice(1, 4), [0, 3], torch.tensor([4, 0]),
                torch.tensor([True, False, True, False, False]), torch.zeros(5, dtype=torch.bool)])
def test_selection(masks, index):
    chosen = masks[index]
    assert torch.equal(chosen.to_tensor(), masks.to_tensor()[[index] if isinstance(index, int) else index])
    assert len(chosen.rles()) == len(chosen)


@pytest.mark.parametrize('keep', [[True, False, True, True, False], [False] * 5])
def test_as_a_field_of_instances(masks, keep):
    sample = DetDataSample()
    sample.pred_instances = InstanceData(scores=torch.rand(5), masks=masks)
    keep = torch.tensor(keep)
    chosen = sample.pred_instances[keep]
    assert torch.equal(chosen.masks.to_tensor(), masks.to_tensor()[keep])
    assert sample.to('meta').pred_instances.masks.probs.is_meta
    both = InstanceData.cat([sample.pred_instances, chosen])
    assert both.masks.rles() == masks.rles() + chosen.masks.rles()
