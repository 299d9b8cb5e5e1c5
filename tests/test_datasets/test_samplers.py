from collections import Counter

import pytest
from each import each
from mmengine.dataset import DefaultSampler

from mmdet.datasets import AspectRatioBatchSampler, ClassAwareSampler, samplers
from mmdet.errors import UserError
from mmdet.registry import DATA_SAMPLERS


class Sizes:
    """A data set of sizes alone: indices divisible by 3 are upright."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def get_data_info(self, i):
        return dict(width=30, height=40 if i % 3 == 0 else 30)


@each('length', [1, 8, 23, 24])
@each('drop_last', [False, True])
def test_batches(length, drop_last):
    sampler = DefaultSampler(Sizes(length), shuffle=True, seed=1)
    batches = list(AspectRatioBatchSampler(sampler, batch_size=4, drop_last=drop_last))
    assert len(batches) == len(AspectRatioBatchSampler(sampler, 4, drop_last))
    assert all(len(batch) == 4 for batch in batches[:length // 4])
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen) == (length // 4 * 4 if drop_last else length)
    mixed = [batch for batch in batches if len({i % 3 == 0 for i in batch}) > 1]
    assert len(mixed) <= 2 and mixed == [batch for batch in batches[-2:] if batch in mixed]


def test_order_within_a_shape_is_the_sampler_s():
    sampler = DefaultSampler(Sizes(12), shuffle=False)
    assert list(AspectRatioBatchSampler(sampler, 2)) == [[1, 2], [0, 3], [4, 5], [7, 8], [6, 9], [10, 11]]


def test_is_registered():
    built = DATA_SAMPLERS.build(dict(type='AspectRatioBatchSampler', batch_size=2,
                                     sampler=DefaultSampler(Sizes(3), shuffle=False)))
    assert isinstance(built, AspectRatioBatchSampler)


class Labels:
    """20 images: label 0 in all, 1 in every fifth, 2 in the last."""
    labels = [[0] + [1] * (i % 5 == 0) + [2] * (i == 19) for i in range(20)]

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, i):
        return self.labels[i]


def test_classes_take_turns(monkeypatch):
    sampler = ClassAwareSampler(Labels(), seed=3)
    order = list(sampler)
    assert len(order) == len(sampler) == 20 and list(sampler) == order
    # of each three one has label 2, which is in image 19 alone; those of label 1 come in turn
    assert all(19 in order[i:i + 3] for i in range(0, 18, 3))
    rare = Counter(i for i in order if i % 5 == 0)
    assert set(rare) == {0, 5, 10, 15} and rare.total() >= 6
    sampler.set_epoch(1)
    assert list(sampler) != order
    twice = list(ClassAwareSampler(Labels(), seed=3, num_sample_class=2))
    assert sum(i == j == 19 for i, j in zip(twice[::2], twice[1::2], strict=True)) >= 3
    parts = []
    for rank in range(3):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 3))
        parts += list(ClassAwareSampler(Labels(), seed=3))
    assert parts[:20] == order and len(parts) == 21
    monkeypatch.setattr(Labels, 'labels', [[]] * 20)
    with pytest.raises(UserError, match='no image'):
        ClassAwareSampler(Labels(), seed=3)
