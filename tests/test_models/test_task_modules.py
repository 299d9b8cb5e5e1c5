import inspect

import pytest
import torch
from each import each
from pairwise import pairwise

from mmdet.models.task_modules import (
    AnchorGenerator,
    DeltaXYWHBBoxCoder,
    LegacyDeltaXYWHBBoxCoder,
    MaxIoUAssigner,
    RandomSampler,
)
from mmdet.models.task_modules.matching import BACKGROUND, IGNORED
from mmdet.models.task_modules.samplers import IoUBalancedNegSampler, OHEMSampler
from mmdet.structures import GroundTruth


def ground_truth(boxes, valid=None, ignored=None):
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    shape = boxes.shape[:2]
    valid = torch.ones(shape, dtype=torch.bool) if valid is None else torch.tensor(valid)
    ignored = torch.zeros(shape[0], 1, 4) if ignored is None else torch.tensor(ignored)
    sizes = torch.full((shape[0], 2), 100.)
    return GroundTruth(boxes, torch.zeros(shape, dtype=torch.long), valid, ignored, sizes, sizes, None,
                       torch.zeros(shape, dtype=torch.long))


def test_anchors_by_hand():
    generator = AnchorGenerator(strides=[4, 8], ratios=[0.25, 1.0], scales=[2])
    anchors = generator([(2, 1), (1, 1)], torch.device('cpu'))
    # ratio 0.25 halves the height and doubles the width of a square of 2 * stride
    expected = [[-8, -2, 8, 2], [-4, -4, 4, 4], [-8, 2, 8, 6], [-4, 0, 4, 8], [-16, -4, 16, 4], [-8, -8, 8, 8]]
    torch.testing.assert_close(anchors, torch.tensor(expected, dtype=torch.float32))


def test_anchors_beyond_the_padded_image_are_not_valid():
    generator = AnchorGenerator(strides=[4], ratios=[1.0], scales=[2])
    valid = generator.valid([(2, 3)], torch.tensor([[4., 12.], [8., 5.]]))
    assert valid.tolist() == [[True, True, True, False, False, False], [True, True, False, True, True, False]]


def test_levels_and_strides_must_agree():
    with pytest.raises(ValueError, match='num_outs'):
        AnchorGenerator(strides=[4], ratios=[1.0], scales=[2])([(1, 1), (1, 1)], torch.device('cpu'))


def test_coder_by_hand():
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    box, gt = torch.tensor([[10., 10., 30., 50.]]), torch.tensor([[14., 10., 34., 90.]])
    delta = coder.encode(box, gt)
    torch.testing.assert_close(delta, torch.tensor([[0.2 / 0.1, 0.5 / 0.1, 0., 0.6931472 / 0.2]]))
    torch.testing.assert_close(coder.decode(box, delta), gt)
    clipped = coder.decode(box, delta, torch.tensor([[60., 32.]]))
    torch.testing.assert_close(clipped, torch.tensor([[14., 10., 32., 60.]]))


def test_padding_encodes_to_finite_numbers():
    assert DeltaXYWHBBoxCoder().encode(torch.zeros(1, 4), torch.zeros(1, 4)).isfinite().all()


DEFAULTS = {  # mmdetection 3.3's
    MaxIoUAssigner: dict(min_pos_iou=0, gt_max_assign_all=True, ignore_iof_thr=-1, ignore_wrt_candidates=True,
                         match_low_quality=True, gpu_assign_thr=-1),
    RandomSampler: dict(neg_pos_ub=-1, add_gt_as_proposals=True),
    OHEMSampler: dict(neg_pos_ub=-1, add_gt_as_proposals=True, loss_key='loss_cls'),
    IoUBalancedNegSampler: dict(floor_thr=-1, floor_fraction=0, num_bins=3),
    DeltaXYWHBBoxCoder: dict(target_means=(0,) * 4, target_stds=(1,) * 4, clip_border=True, add_ctr_clamp=False,
                             ctr_clamp=32),
    LegacyDeltaXYWHBBoxCoder: dict(target_means=(0,) * 4, target_stds=(1,) * 4),
    AnchorGenerator: dict(center_offset=0)}


@each('cls, defaults', DEFAULTS.items())
def test_options_that_are_not_given_are_mmdetections(cls, defaults):
    ours = inspect.signature(cls).parameters
    assert {name: ours[name].default for name in defaults} == defaults


def slow_assign(boxes, gt, valid, ignored, rule):
    """The rules of MaxIoUAssigner in loops, for one image."""
    def area(a):
        return max(0, a[2] - a[0]) * max(0, a[3] - a[1])

    def inter(a, b):
        return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])

    def iou(a, b):
        return inter(a, b) / max(area(a) + area(b) - inter(a, b), 1e-6)
    out = []
    for box in boxes:
        best = max([(iou(g, box), -j) for j, g in enumerate(gt) if valid[j]], default=(0, 0))
        out.append(-best[1] if best[0] >= rule['pos_iou_thr'] else
                   BACKGROUND if best[0] < rule['neg_iou_thr'] else IGNORED)
    skip = [any(inter(box, r) / max(area(box if rule['ignore_wrt_candidates'] else r), 1e-6) > rule['ignore_iof_thr']
                for r in ignored) if rule['ignore_iof_thr'] > 0 else False for box in boxes]
    if rule['match_low_quality']:
        for j, g in enumerate(gt):
            ious = [-1 if s else iou(g, box) for box, s in zip(boxes, skip)]
            if valid[j] and max(ious) >= rule['min_pos_iou']:
                out = [j if v == max(ious) else o for o, v in zip(out, ious)]
    return [IGNORED if s else o for o, s in zip(out, skip)]


@pytest.mark.parametrize('low_quality, ignore, of_candidates, chunk',
                         pairwise([False, True], [-1, 0.5], [True, False], [1 << 24, 1]))
def test_assigner_equals_the_rules_in_loops(monkeypatch, low_quality, ignore, of_candidates, chunk):
    monkeypatch.setattr('mmdet.ops.boxes.MAX_OVERLAPS', chunk)
    g = torch.Generator().manual_seed(1)
    rule = dict(pos_iou_thr=0.5, neg_iou_thr=0.3, min_pos_iou=0.2, match_low_quality=low_quality, ignore_iof_thr=ignore,
                ignore_wrt_candidates=of_candidates)

    def random_boxes(*shape):
        # Multiples of 1/8 of a small grid: IoUs repeat, so that ties happen, and float32 is exact.
        corner = torch.randint(0, 12, (*shape, 2), generator=g).float()
        return torch.cat([corner, corner + torch.randint(1, 9, (*shape, 2), generator=g)], -1)
    boxes, gt_boxes, ignored = random_boxes(3, 60), random_boxes(3, 5), random_boxes(3, 2)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
    matched = MaxIoUAssigner(**rule)(boxes, ground_truth(gt_boxes, valid.tolist(), ignored.tolist()))
    for i in range(3):
        expected = slow_assign(boxes[i].tolist(), gt_boxes[i].tolist(), valid[i], ignored[i].tolist(), rule)
        assert matched[i].tolist() == expected


def test_assigner_leaves_out_invalid_boxes():
    gt = ground_truth([[[0., 0., 10., 10.]]])
    boxes = torch.tensor([[[0., 0., 10., 10.], [0., 0., 10., 8.]]])
    matched = MaxIoUAssigner(0.5, 0.5, match_low_quality=True)(boxes, gt, torch.tensor([[False, True]]))
    assert matched.tolist() == [[IGNORED, 0]]


def test_sampler_keeps_the_budget_and_the_kinds():
    matched = torch.full((4, 100), BACKGROUND)
    matched[0, :30] = 2        # more positives than wanted
    matched[1, 5] = 0          # one
    matched[2, :95] = IGNORED  # five negatives alone
    matched[3, :] = 1          # positives alone
    sample = RandomSampler(num=16, pos_fraction=0.25)(matched)
    chosen = matched.gather(1, sample.index)
    assert sample.positive.sum(1).tolist() == [4, 1, 0, 4]
    assert sample.valid.sum(1).tolist() == [16, 16, 5, 4]
    assert sample.max_positive == 4
    assert not sample.positive[:, 4:].any()
    assert (chosen[sample.positive] >= 0).all()
    assert (chosen[sample.valid & ~sample.positive] == BACKGROUND).all()
    for row, valid in zip(sample.index, sample.valid):
        assert len(set(row[valid].tolist())) == valid.sum()


def test_sampler_bound_on_negatives():
    matched = torch.full((2, 50), BACKGROUND)
    matched[0, :3] = 0
    for bound, negatives in ((2, [6, 2]), (0.7, [2, 0]), (0, [0, 0])):
        sample = RandomSampler(num=40, pos_fraction=0.5, neg_pos_ub=bound)(matched)
        assert sample.valid.sum(1).tolist() == [3 + negatives[0], negatives[1]]


def test_sampler_is_uniform():
    torch.manual_seed(0)
    matched = torch.full((2000, 8), BACKGROUND)
    sample = RandomSampler(num=2, pos_fraction=0.5)(matched)
    counts = torch.bincount(sample.index[sample.valid], minlength=8).float()
    # 4000 draws over 8 boxes: 500 each, standard deviation below 21
    assert (counts - 500).abs().max() < 100
