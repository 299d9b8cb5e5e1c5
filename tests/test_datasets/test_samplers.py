import pytest
from mmengine.dataset import DefaultSampler

from mmdet.datasets import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS


class Sizes:
    """A data set of sizes alone: indices divisible by 3 are upright."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def get_data_info(self, i):
        return dict(width=30, height=40 if i % 3 == 0 else 30)


@pytest.mark.parametrize('length', [1, 8, 23, 24])
@pytest.mark.parametrize('drop_last', [False, True])
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
