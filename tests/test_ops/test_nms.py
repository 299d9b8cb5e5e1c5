import math
from itertools import product

import pytest
import torch
import torchvision
from no_waits import no_waits

from mmdet.ops import batched_nms, nms, nms_images
from mmdet.ops.soft_nms import soft_nms


def random_boxes(*shape, extent=100.0, seed=0):
    corners = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed)) * extent
    sizes = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed + 1)) * extent / 3
    return torch.cat([corners, corners + sizes], -1)


def random_scores(*shape, seed=2, ties=False):
    scores = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (scores * 20).round() / 20 if ties else scores


def oracle(boxes, scores, groups, iou_threshold, offset=0):
    """Plain loops over pairs; with an offset of 1 both corners are pixels of the box."""
    def area(box):
        return (box[2] - box[0] + offset) * (box[3] - box[1] + offset)

    def iou(a, b):
        width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
        height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
        areas = area(a) + area(b)
        return width * height / (areas - width * height)
    boxes, scores, groups = boxes.tolist(), scores.tolist(), groups.tolist()
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(groups[i] != groups[k] or iou(boxes[k], boxes[i]) <= iou_threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize('num_boxes', [0, 1, 63, 64, 65, 700])
def test_nms_agrees_with_torchvision(served_by, device, num_boxes):
    for iou_threshold, ties in product([0.0, 0.3, 0.7, 1.0], [False, True]):
        boxes, scores = random_boxes(num_boxes), random_scores(num_boxes, ties=ties)
        expected = torchvision.ops.nms(boxes, scores, iou_threshold)
        assert torch.equal(nms(boxes.to(device), scores.to(device), iou_threshold).cpu(), expected)


def test_overlap_just_at_the_threshold_stays(served_by, device):
    """IoU is 1/2, 1/3 and 3/5 in turn: only what is larger than the threshold goes."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [5, 0, 15, 10], [0, 0, 10, 6]], device=device)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6], device=device)
    assert nms(boxes, scores, 0.5).tolist() == [0, 1, 2]
    assert nms(boxes[:2], scores[:2], 0.49).tolist() == [0]
    assert nms(boxes[::2], scores[::2], 1 / 3).tolist() in ([0, 1], [0])  # 1/3 has no float
    assert nms(boxes[:1].repeat(3, 1), scores[:3], 1.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_soft_nms_equals_loops(method):
    boxes, scores, groups = random_boxes(40, extent=30.0), random_scores(40), torch.arange(40) % 2
    ious = torchvision.ops.box_iou(boxes.double(), boxes.double()).tolist()
    for max_keep in (0, 5, 40):
        left, expected = dict(enumerate(scores.tolist())), []
        while left and len(expected) < max_keep:
            best = max(left, key=left.get)
            expected.append((best, left.pop(best)))
            for i in left:
                iou = ious[best][i] if groups[i] == groups[best] else 0
                left[i] *= (math.exp(-iou ** 2 / 0.4) if method == 'gaussian' else 1 if iou < 0.2 else
                            1 - iou if method == 'linear' else 0)
            left = {i: score for i, score in left.items() if score >= 0.1}
        kept, lowered = soft_nms(boxes, scores, groups, max_keep, 0.2, 0.4, 0.1, method)
        assert kept.tolist() == [i for i, _ in expected]
        assert lowered.tolist() == pytest.approx([score for _, score in expected], rel=1e-5)


def test_20000_boxes(served_by, device):
    boxes, scores = random_boxes(20000, extent=2000.0), random_scores(20000)
    expected = torchvision.ops.nms(boxes, scores, 0.5)
    assert torch.equal(nms(boxes.to(device), scores.to(device), 0.5).cpu(), expected)


@pytest.mark.parametrize('offset', [0, 1])
def test_offset(served_by, device, offset):
    """Boxes of few pixels, where counting the last one matters."""
    boxes, scores = random_boxes(2, 300, extent=12.), random_scores(2, 300)
    groups = torch.arange(300).remainder(3).expand(2, -1).contiguous()
    expected = [oracle(*one, 0.45, offset) for one in zip(boxes, scores, groups)]
    keep = nms_images(boxes.to(device), scores.to(device), groups.to(device), 0.45, 300, offset)
    assert [[i for i in row if i >= 0] for row in keep.tolist()] == expected
    one = [part[0].to(device) for part in (boxes, scores, groups)]
    assert batched_nms(*one, 0.45, offset).tolist() == expected[0]
    assert nms(one[0], one[1], 0.45, offset).tolist() == oracle(boxes[0], scores[0], groups[0] * 0, 0.45, offset)


def test_offset_is_checked():
    with pytest.raises(ValueError, match='offset must be 0 or 1, got 2'):
        nms(random_boxes(3), random_scores(3), 0.5, offset=2)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(served_by, device, dtype):
    boxes, scores = random_boxes(300).to(dtype), random_scores(300).to(dtype)
    expected = torchvision.ops.nms(boxes.double(), scores.double(), 0.5)
    assert torch.equal(nms(boxes.to(device), scores.to(device), 0.5).cpu(), expected)


def test_float64_boxes_keep_their_digits(served_by, device):
    """In float32 they would be the same box; their IoU is 1/4."""
    boxes = torch.tensor([[0., 0, 5, 4], [3, 0, 8, 4]], dtype=torch.float64, device=device)
    boxes[:, ::2] += 1e8
    assert nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.5).tolist() == [0, 1]


def test_hostile_boxes_agree_with_torchvision(served_by, device):
    """Points, lines, boxes turned round, infinite sides and NaN in boxes and scores."""
    boxes, scores = random_boxes(200), random_scores(200)
    boxes[::7, 2:] = boxes[::7, :2]
    boxes[3::11] = boxes[3::11].flip(1)
    boxes[5, 2], boxes[6, 0], boxes[7], boxes[8, 1] = math.inf, -math.inf, math.nan, math.nan
    scores[9], scores[10], scores[11] = math.nan, -math.inf, math.inf
    expected = torchvision.ops.nms(boxes, scores, 0.4)
    assert torch.equal(nms(boxes.to(device), scores.to(device), 0.4).cpu(), expected)


@pytest.mark.parametrize('num_classes', [1, 5, 80])
def test_batched_nms(served_by, device, num_classes):
    boxes, scores = random_boxes(300), random_scores(300, ties=True)
    classes = torch.arange(300) * 7919 % num_classes
    result = batched_nms(boxes.to(device), scores.to(device), classes.to(device), 0.4)
    assert result.tolist() == oracle(boxes, scores, classes, 0.4)


def test_classes_are_not_told_apart_by_shifting_boxes(served_by, device):
    """Beside a box at 1e8 a shift by class would round small boxes of other classes together."""
    boxes = torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5], [0, 0, 4, 4], [0, 0, 1e8, 1e8]], device=device)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6], device=device)
    assert batched_nms(boxes, scores, torch.tensor([3, 2, 3, 1], device=device), 0.5).tolist() == [0, 1, 3]


@pytest.mark.parametrize('max_keep', [0, 5, 130, 400])
def test_nms_images(served_by, device, max_keep):
    boxes, scores = random_boxes(3, 300), random_scores(3, 300, ties=True)
    groups = torch.arange(900).view(3, 300) % 4
    scores[1, 100:] = -math.inf
    scores[2] = -math.inf
    result = nms_images(boxes.to(device), scores.to(device), groups.to(device), 0.4, max_keep)
    assert result.shape == (3, max_keep) and result.dtype == torch.int64
    counts = (300, 100, 0)
    for image, count in enumerate(counts):
        kept = oracle(boxes[image, :count], scores[image, :count], groups[image, :count], 0.4)[:max_keep]
        assert result[image].tolist() == kept + [-1] * (max_keep - len(kept))


def test_no_images_and_no_boxes(served_by, device):
    def call(images, count):
        return nms_images(torch.zeros(images, count, 4, device=device), torch.zeros(images, count, device=device),
                          torch.zeros(images, count, dtype=torch.int64, device=device), 0.5, 2)
    assert call(0, 3).shape == (0, 2)
    assert call(2, 0).tolist() == [[-1, -1], [-1, -1]]


def test_strided_and_differentiable_inputs(served_by, device):
    boxes, scores = random_boxes(4, 100), random_scores(100, 4)
    groups = torch.zeros(4, 100, dtype=torch.int64)
    expected = nms_images(boxes[::2], scores.T[::2].contiguous(), groups[::2], 0.5, 100)
    boxes, scores = boxes.to(device).requires_grad_(), scores.to(device).requires_grad_()
    result = nms_images(boxes[::2], scores.T[::2], groups.to(device)[::2], 0.5, 100)
    assert torch.equal(result.cpu(), expected) and not result.requires_grad


@pytest.mark.gpu
def test_nms_images_does_not_wait_for_the_device(device):
    boxes, scores = random_boxes(2, 500).to('cuda'), random_scores(2, 500).to('cuda')
    groups = torch.zeros(2, 500, dtype=torch.int64, device='cuda')
    with no_waits():
        nms_images(boxes, scores, groups, 0.5, 100)


def test_opcheck(extension, device):
    boxes, scores = random_boxes(2, 50).to(device), random_scores(2, 50).to(device)
    order = scores.argsort(descending=True)
    groups, counts = torch.zeros_like(order), torch.tensor([50, 20], device=device)
    torch.library.opcheck(torch.ops.mmdet.nms, (boxes, order, groups, counts, 0.5, 30))


BOXES, SCORES = torch.zeros(3, 4), torch.zeros(3)


MISTAKES = [
    (lambda: nms(torch.zeros(3, 5), SCORES, 0.5), r'boxes must be \(N, 4\)'),
    (lambda: nms(BOXES, torch.zeros(2), 0.5), 'do not belong together'),
    (lambda: nms(BOXES.int(), SCORES, 0.5), 'floating point'),
    (lambda: nms(BOXES, SCORES.to('meta'), 0.5), 'scores on meta'),
    (lambda: batched_nms(BOXES, SCORES, torch.zeros(2).long(), 0.5), 'do not belong together'),
    (lambda: nms_images(BOXES, SCORES, SCORES.long(), 0.5, 3), r'boxes must be \(B, N, 4\)'),
    (lambda: nms_images(BOXES[None], SCORES[None], SCORES[None], 0.5, 3), 'groups must be int64'),
    (lambda: nms_images(BOXES[None], SCORES[None], SCORES[None].long(), 0.5, -1), 'max_keep'),
]


def test_refuses(subtests):
    for call, message in MISTAKES:
        with subtests.test(str(call)):
            with pytest.raises((ValueError, TypeError), match=message):
                call()
