"""In which order images come, and in which batches."""
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import BatchSampler, Sampler

from mmdet.errors import UserError
from mmdet.registry import DATA_SAMPLERS

__path__: list[str] = []  # mmdetection's is a package, whose modules mmdet/import_paths.py finds


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


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(Sampler):
    """Every class comes equally often: its turn gives the next of its images, in an order drawn (arXiv 1512.05830).

    An epoch has as many images as the data set. Order and shares of the processes are those of mmdetection.

    Args:
        dataset: with `get_cat_ids(index)`, the labels in an image.
        seed: of the order, with the epoch; by default one is drawn for all processes.
        num_sample_class: images of a class at its turn.
    """

    def __init__(self, dataset: Any, seed: int | None = None, num_sample_class: int = 1):
        self.rank, world_size = get_dist_info()
        self.dataset, self.num_sample_class, self.epoch = dataset, num_sample_class, 0
        self.seed = sync_random_seed() if seed is None else seed
        images: dict[int, list[int]] = defaultdict(list)
        for index in range(len(dataset)):
            for label in set(dataset.get_cat_ids(index)):
                images[label].append(index)
        if not images:
            raise UserError('ClassAwareSampler: no image of the data set has an object')
        self.images = [images[label] for label in sorted(images)]
        self.num_samples = math.ceil(len(dataset) / world_size)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        turns = _cycle(range(len(self.images)), generator)
        images = [_cycle(indices, generator) for indices in self.images]
        order = (next(images[label]) for label in turns for _ in range(self.num_sample_class))
        start = self.num_samples * self.rank
        return islice(order, start, start + self.num_samples)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def _cycle(items: Sequence[int], generator: torch.Generator) -> Iterator[int]:
    """All items in an order drawn now, then all in another one, without end."""
    def endless(order: list[int]) -> Iterator[int]:
        while True:
            yield from (items[i] for i in order)
            order = torch.randperm(len(items), generator=generator).tolist()
    return endless(torch.randperm(len(items), generator=generator).tolist())
