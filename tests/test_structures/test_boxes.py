import pytest
import torch

from mmdet.structures import box_area, box_iou, clip_boxes


def overlap(a, b):
    """Intersection and union of two integer boxes, counted pixel by pixel."""
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
    return len(pixels(a) & pixels(b)), len(pixels(a) | pixels(b))


def test_box_iou_counts_pixels():
    a = torch.tensor([[0, 0, 10, 8], [3, 2, 6, 9], [20, 20, 22, 21]])
    b = torch.tensor([[0, 0, 10, 8], [5, 4, 12, 12]])
    iou, iof = box_iou(a.float(), b.float()), box_iou(a.float(), b.float(), mode='iof')
    for i, first in enumerate(a.tolist()):
        for j, second in enumerate(b.tolist()):
            intersection, union = overlap(first, second)
            assert iou[i, j] == pytest.approx(intersection / union)
            area = (first[2] - first[0]) * (first[3] - first[1])
            assert iof[i, j] == pytest.approx(intersection / area)


def test_box_iou_is_batched_and_takes_empty_and_degenerate_boxes():
    a, b = torch.rand(3, 5, 4), torch.rand(3, 2, 4)
    assert torch.equal(box_iou(a, b), torch.stack([box_iou(x, y) for x, y in zip(a, b, strict=True)]))
    assert box_iou(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
    assert box_iou(torch.zeros(2, 4), torch.zeros(3, 4)).abs().max() == 0
    with pytest.raises(ValueError, match='giou'):
        box_iou(a, b, mode='giou')


def test_box_area():
    assert box_area(torch.tensor([[1., 2., 4., 6.], [4., 2., 1., 6.]])).tolist() == [12, 0]


def test_clip_boxes_by_number_and_per_image():
    boxes = torch.tensor([[-3., -1., 12., 5.], [2., 9., 30., 40.]])
    assert clip_boxes(boxes, 8, 10).tolist() == [[0, 0, 10, 5], [2, 8, 10, 8]]
    batch = clip_boxes(boxes.expand(2, 2, 4), torch.tensor([[8.], [20.]]), torch.tensor([[10.], [25.]]))
    assert batch.tolist() == [[[0, 0, 10, 5], [2, 8, 10, 8]], [[0, 0, 12, 5], [2, 9, 25, 20]]]
