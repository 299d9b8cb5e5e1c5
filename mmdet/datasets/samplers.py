"""Batches of images that need little padding."""
from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, Sampler

from mmdet.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(BatchSampler):
    """Batches hold only upright images or only others; the last ones are mixed.

    Args:
        sampler: indices of a data set (`sampler.dataset`) whose `get_data_info` gives width and height.
        batch_size: images in a batch.
        drop_last: whether a last, smaller batch is left out.
    """

    sampler: Any  # Sampler with its `dataset`

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False):
        super().__init__(sampler, batch_size, drop_last)
        self._upright: dict[int, bool] = {}  # a data set takes long to tell

    def __iter__(self) -> Iterator[list[int]]:
        groups: dict[bool, list[int]] = {True: [], False: []}
        for index in self.sampler:
            if index not in self._upright:
                info = self.sampler.dataset.get_data_info(index)
                self._upright[index] = info['width'] < info['height']
            group = groups[self._upright[index]]
            group.append(index)
            if len(group) == self.batch_size:
                yield group.copy()
                group.clear()
        rest = groups[True] + groups[False]
        for start in range(0, len(rest), self.batch_size):
            batch = rest[start:start + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch
