import math

import pytest
import torch
import torchvision
from each import each
from mask_rcnn import ALL_SAMPLED, build, data, losses
from scene import scene

from mmdet.models import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss
from mmdet.models.task_modules.matching import IGNORED
from mmdet.registry import MODELS
from mmdet.structures import GroundTruth

LOSSES = [IoULoss(), IoULoss('linear'), IoULoss('square'), GIoULoss(), DIoULoss(), CIoULoss(), BoundedIoULoss()]


def pairs(count=200, side=40):
    """Boxes on whole pixels that overlap much, little, not at all, and are equal."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, side // 2, (count, 2), generator=generator)
    sizes = torch.randint(1, side // 2, (count, 2), generator=generator)
    target = torch.cat([corners, corners + sizes], 1).float()
    share = torch.randint(1, 8, (count, 1), generator=generator)
    move = torch.randint(-12, 13, (count, 4), generator=generator) // share
    pred = (target + move).clamp(0, side)
    pred[:, 2:] = torch.maximum(pred[:, 2:], pred[:, :2] + 1)
    pred[0] = target[0]
    return pred, target


def pixels(boxes, side=60):
    """Bool (N, side, side): the pixels of each box."""
    at = torch.arange(side)
    inside = [(at >= boxes[:, k, None]) & (at < boxes[:, k + 2, None]) for k in (0, 1)]
    return inside[1][:, :, None] & inside[0][:, None]


def by_pixels(pred, target):
    """IoU, and the share of the enclosing box that neither covers, by counting."""
    pred, target = pixels(pred), pixels(target)
    intersection, union = (mask.sum((1, 2)).double() for mask in (pred & target, pred | target))
    sides = [(torch.arange(60) * mask).amax(1) - torch.where(mask, torch.arange(60), 60).amin(1) + 1
             for mask in ((pred | target).any(1), (pred | target).any(2))]
    around = (sides[0] * sides[1]).double()
    return intersection / union, (around - union) / around


def of_each(loss, pred, target):
    """The loss of each pair alone, float64 (N,)."""
    rows = zip(pred[:, None], target[:, None], strict=True)
    return torch.stack([loss(*row, torch.ones(1, 1), 1) for row in rows]).double()


def test_iou_and_giou_count_pixels():
    pred, target = pairs()
    iou, outside = by_pixels(pred, target)
    assert iou.min() == 0 and iou.max() == 1 and ((iou > 0) & (iou < 1)).sum() > 100
    for loss, expected in ((IoULoss(), -iou.clamp(min=1e-6).log()), (IoULoss('linear'), 1 - iou.clamp(min=1e-6)),
                           (IoULoss('square'), 1 - iou.square()), (GIoULoss(), 1 - iou + outside)):
        torch.testing.assert_close(of_each(loss, pred, target), expected, rtol=1e-5, atol=2e-6)


def test_diou_and_ciou_are_torchvisions():
    """But that CIoU looks at the aspect ratio only from an IoU of a half on."""
    pred, target = pairs()
    diou = torchvision.ops.distance_box_iou_loss(pred, target)
    ciou = torchvision.ops.complete_box_iou_loss(pred, target)
    torch.testing.assert_close(of_each(DIoULoss(), pred, target), diou.double(), rtol=1e-5, atol=2e-6)
    close = by_pixels(pred, target)[0] > .5
    expected = torch.where(close, ciou, diou).double().clamp(max=2)
    torch.testing.assert_close(of_each(CIoULoss(), pred, target), expected, rtol=1e-5, atol=2e-6)
    assert (ciou - diou)[close].max() > 1e-3


def test_bounded_iou_by_hand():
    target = torch.tensor([[0., 0., 10., 20.]])
    # Centre one to the right: (10 - 2) / (10 + 2) left; width and height doubled: a half left.
    moved, grown = torch.tensor([[1., 0., 11., 20.]]), torch.tensor([[-5., -10., 15., 30.]])
    loss = BoundedIoULoss(beta=.2, eps=0., loss_weight=3.)
    assert float(loss(moved, target, torch.ones(1, 1), 1)) == pytest.approx(3 * (.5 * (1 / 3 - .1) + .5 * (1 / 3 - .1)))
    assert float(loss(grown, target, torch.ones(1, 1), 1)) == pytest.approx(3 * 2 * (.5 - .1))
    slight = torch.tensor([[.25, 0., 10.25, 20.]])
    assert float(loss(slight, target, torch.ones(1, 1), 1)) == pytest.approx(3 * (1 - 9.5 / 10.5)**2 / .4)


@each('loss', LOSSES)
def test_rows_weights_and_precision(loss):
    pred, target = pairs(12)
    weight = torch.arange(12.)[:, None]
    expected = (of_each(loss, pred, target) * weight[:, 0]).sum() / 7
    torch.testing.assert_close(loss(pred, target, weight, 7).double(), expected, rtol=1e-5, atol=1e-6)
    assert loss(pred.half(), target, weight, 7).dtype == torch.float32
    batches = [tensor.view(3, 4, -1) for tensor in (pred, target, weight)]
    torch.testing.assert_close(loss(*batches, 7), loss(pred, target, weight, 7))
    assert float(loss(target, target, weight, 7)) == pytest.approx(0, abs=1e-4)


@each('loss', LOSSES)
def test_gradients(loss):
    """Towards the target; finite for padding, which has no size."""
    pred, target = (boxes.double() for boxes in pairs())
    close = by_pixels(pred, target)[0] > .3
    pred = pred[close].add_(.1).requires_grad_()
    before = loss.compare(pred, target[close])
    grad, = torch.autograd.grad(before.sum(), pred)
    after = loss.compare(pred - 1e-4 * grad / grad.norm(dim=1, keepdim=True).clamp(min=1e-9), target[close])
    assert (after.sum(1) <= before.sum(1) + 1e-9).all() and after.sum() < before.sum()
    padding = torch.zeros(3, 4, requires_grad=True)
    value = loss(padding, torch.tensor([[0., 0., 0., 0.], [2., 2., 5., 5.], [0., 0., 5., 0.]]), torch.zeros(3, 1), 1)
    assert value == 0 and torch.autograd.grad(value, padding)[0].isfinite().all()


@pytest.mark.parametrize('loss', LOSSES, ids=repr)
def test_no_value_is_looked_at(loss):
    """Neither forward nor backward, else a GPU would have to be waited for."""
    pred, target = pairs(12)
    with torch.profiler.profile() as profile:
        loss(pred.requires_grad_(), target, torch.ones(12, 1), 7).backward()
    assert not {'aten::_local_scalar_dense', 'aten::nonzero'} & {event.key for event in profile.key_averages()}


def test_unknown_mode():
    with pytest.raises(ValueError, match="'linear'"):
        IoULoss('cubic')


@pytest.mark.parametrize('head', ['rpn_head', 'roi_head.bbox_head'])
def test_offsets_are_not_compared_as_boxes(head):
    with pytest.raises(ValueError, match=f"{head.split('.')[-1]}.*'GIoULoss'.*reg_decoded_bbox=True"):
        build(**{f'{head}.loss_bbox': dict(type='GIoULoss', _delete_=True)})


@pytest.mark.parametrize('agnostic', [False, True])
def test_box_head_compares_boxes(agnostic):
    """Of the label's class, decoded, at the positives; divided by all rows."""
    head = MODELS.build(dict(type='Shared2FCBBoxHead', in_channels=4, fc_out_channels=8, num_classes=3,
                             reg_class_agnostic=agnostic, reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss')))
    torch.manual_seed(0)
    boxes = torch.tensor([[10., 10., 50., 90.], [5., 5., 25., 45.], [0., 0., 30., 30.], [3., 3., 9., 9.]])
    gt = torch.tensor([[12., 8., 55., 80.], [0., 9., 30., 40.], [1., 1., 2., 2.]])
    labels, positive = torch.tensor([2, 0, 3, 3]), torch.tensor([0, 1, 2])  # the third is padding
    deltas = torch.randn(4, 4 if agnostic else 12)
    rois = torch.cat([torch.zeros(4, 1), boxes], 1)
    loss = head.loss(torch.randn(4, 4), deltas, rois, labels, gt, torch.ones(4), positive)['loss_bbox']
    of_class = [deltas[0] if agnostic else deltas[0, 8:], deltas[1] if agnostic else deltas[1, :4]]
    expected = 0
    for box, delta, target in zip(boxes, of_class, gt):
        x1, y1, x2, y2 = box.tolist()
        dx, dy, dw, dh = (delta * torch.tensor([.1, .1, .2, .2])).tolist()
        x, y, w, h = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1), (x2 - x1) * math.exp(dw), \
            (y2 - y1) * math.exp(dh)
        decoded = torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        expected += torchvision.ops.generalized_box_iou_loss(decoded, target).item() / 4
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_rpn_compares_boxes():
    """With deltas of 0 the boxes are the anchors; with all sampled, the divisor is the number that are not ignored."""
    head = build(**ALL_SAMPLED, **{'rpn_head.reg_decoded_bbox': True,
                                   'rpn_head.loss_bbox': dict(type='DIoULoss', _delete_=True)}).rpn_head
    images, targets = scene(0)
    gt = GroundTruth.from_samples(data(images, targets)['data_samples'], 'cpu')
    sizes = [(-(-images[0].shape[1] // stride), -(-images[0].shape[2] // stride)) for stride in (4, 8, 16, 32, 64)]
    counts = [3 * height * width for height, width in sizes]
    logits, deltas = ([torch.zeros(len(images), count, *last) for count in counts] for last in ((), (4,)))
    loss = head.loss(logits, deltas, sizes, gt)['loss_rpn_bbox']
    anchors = head.anchor_generator(sizes, 'cpu')
    matched = head.assigner(anchors[None], gt, head.anchor_generator.valid(sizes, gt.padded_sizes))
    image, anchor = (matched >= 0).nonzero(as_tuple=True)
    assert len(anchor) > 10
    expected = torchvision.ops.distance_box_iou_loss(anchors[anchor], gt.boxes[image, matched[image, anchor]])
    torch.testing.assert_close(loss, expected.sum() / (matched > IGNORED).sum(), rtol=1e-4, atol=1e-6)


def test_every_loss_trains():
    images, targets = scene(0)
    for kind in ('IoULoss', 'GIoULoss', 'DIoULoss', 'CIoULoss', 'BoundedIoULoss'):
        for head, name in (('rpn_head', 'loss_rpn_bbox'), ('roi_head.bbox_head', 'loss_bbox')):
            model = build(**{f'{head}.reg_decoded_bbox': True, f'{head}.loss_bbox': dict(type=kind, _delete_=True)})
            value = losses(model.train(), images, targets)[name]
            value.backward()
            parts = model.get_submodule(head)
            layer = parts.rpn_reg if head == 'rpn_head' else parts.fc_reg
            assert 0 < value.item() < 20 and layer.weight.grad.abs().sum() > 0
