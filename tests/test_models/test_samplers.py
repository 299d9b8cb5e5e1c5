"""Samplers that prefer some boxes: how many they take of which kind, counted over draws."""
import pytest
import torch
from test_task_modules import ground_truth

from mmdet.models.task_modules.matching import BACKGROUND, IGNORED
from mmdet.models.task_modules.samplers import rank_within
from mmdet.registry import TASK_UTILS


def drawn(sample, row=0):
    index, positive, valid = sample.index[row], sample.positive[row], sample.valid[row]
    return index[positive].tolist(), index[valid & ~positive].tolist()


def test_rank_within_counts_the_greater_keys_of_the_own_group():
    torch.manual_seed(0)
    group, key = torch.randint(-2, 5, (3, 40)), torch.rand(3, 40) * 2
    same = group[:, :, None] == group[:, None]
    assert torch.equal(rank_within(group, key), (same & (key[:, None] > key[:, :, None])).sum(2))


def test_positives_of_every_object_alike():
    sampler = TASK_UTILS.build(dict(type='InstanceBalancedPosSampler', num=32, pos_fraction=0.5))
    matched = torch.tensor([[0] * 100 + [1] * 50 + [2] * 3 + [BACKGROUND] * 100 + [IGNORED] * 9])
    for _ in range(5):
        positive, negative = drawn(sampler(matched, None, None))
        counts = torch.bincount(matched[0, positive]).tolist()
        assert sum(counts) == 16 and min(counts[0], counts[1]) >= 4 and max(counts) <= 9  # 16 / 3, filled
        assert len(negative) == 16 and all(matched[0, i] == BACKGROUND for i in negative)
    few = matched.clone()
    few[0, :145] = BACKGROUND
    assert sorted(drawn(sampler(torch.cat([matched, few]), None, None), 1)[0]) == list(range(145, 153))  # all there are


def test_negatives_of_every_range_of_iou_alike():
    """IoUs of a sliding box with an object of 100 x 100; the object itself is the only positive."""
    shift = torch.linspace(0, 1, 200)
    boxes = torch.stack([100 * shift, 0 * shift, 100 * shift + 100, 0 * shift + 100], 1)
    far = torch.tensor([500., 500., 600., 600.]).expand(400, 4)
    boxes = torch.cat([torch.tensor([[0., 0., 100., 100.]]), boxes, far])[None]
    gt = ground_truth([[[0., 0., 100., 100.]]] * 2)
    iou = (1 - shift) / (1 + shift)
    matched = torch.where(iou < 0.5, BACKGROUND, IGNORED)
    matched = torch.cat([torch.tensor([0]), matched, torch.full((400,), BACKGROUND)])[None]
    iou = torch.cat([torch.ones(1), iou, torch.zeros(400)])

    def counts(**options):
        sampler = TASK_UTILS.build(dict(type='IoUBalancedNegSampler', num=41, pos_fraction=0.5, **options))
        positive, negative = drawn(sampler(matched.repeat(2, 1), boxes, gt), 1)
        assert positive == [0] and len(set(negative)) == 40
        found = iou[negative]
        return [int(((found > low) & (found <= high)).sum()) for low, high in ((-1, 0), (0, 1 / 3), (1 / 3, 0.5))]

    none, low, high = counts(floor_thr=-1, floor_fraction=0, num_bins=3)
    assert none == 0 and high >= 13 and low >= 13  # 40 // 3 of each range, the rest from both
    none, low, high = counts(floor_thr=0., floor_fraction=0.5, num_bins=2)
    assert none == 20 and low + high == 20
    assert counts(floor_thr=0.4, floor_fraction=1., num_bins=3)[0] > 20  # most of what is below has no overlap


def test_combined_takes_both_and_hard_ones_are_the_greatest_losses():
    torch.manual_seed(0)
    matched = torch.tensor([[0] * 20 + [1] * 20 + [BACKGROUND] * 60])
    loss = torch.rand(1, 100) * 9
    cfg = dict(type='CombinedSampler', num=20, pos_fraction=0.25, pos_sampler=dict(type='InstanceBalancedPosSampler'),
               neg_sampler=dict(type='OHEMSampler'))
    positive, negative = drawn(TASK_UTILS.build(cfg)(matched, None, None, lambda: loss))
    assert len(positive) == 5 and set(negative) == set((loss[0, 40:].topk(15).indices + 40).tolist())
    assert len(drawn(TASK_UTILS.build(dict(type='PseudoSampler'))(matched, None, None))[0]) == 40
    with pytest.raises(ValueError, match='OHEMSampler .* train_cfg.rcnn'):
        TASK_UTILS.build(dict(type='OHEMSampler', num=20, pos_fraction=0.25))(matched, None, None)
