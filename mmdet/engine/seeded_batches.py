"""What chance decides for a sample follows from (seed, epoch, index): whoever loads it, and whenever."""
import hashlib
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from .random_state import host_generators_kept


class SeededBatch(list):
    """The indices of a batch, in whose order it is loaded: each seeds the generators for its sample as it is taken.

    So the sample's transforms draw the same in any worker as in the main process, whose own generators stay.

    Args:
        indices: of a data set.
        keys: what the numbers drawn for each of them depend on.
    """

    def __init__(self, indices: list, keys: list[tuple]):
        super().__init__(indices)
        self.keys = keys

    def __iter__(self) -> Iterator:
        with host_generators_kept():
            for index, key in zip(self[:], self.keys, strict=True):
                seed_generators(key)
                yield index

    def __reduce__(self) -> tuple:  # a list's would iterate
        return SeededBatch, (self[:], self.keys)


def seed_generators(key: tuple) -> None:
    """Let Python's, NumPy's and PyTorch's generators on the host start from `key`."""
    words = np.frombuffer(hashlib.blake2b(repr(key).encode(), digest_size=16).digest(), '<u4').tolist()
    random.seed(words[0])
    np.random.seed(words[1])
    torch.default_generator.manual_seed(words[2] << 32 | words[3])  # torch.manual_seed would seed the GPUs, too


class SeededBatchSampler:
    """A batch sampler whose batches are SeededBatch, and which can leave out batches without loading them.

    Args:
        batch_sampler: gives lists of indices.
        seed: of the run.
    """

    def __init__(self, batch_sampler: Iterable[list], seed: int):
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.epoch: int | None = None  # None: the sampler's own
        self.skip = 0  # batches to leave out, over several passes if they are more than one holds

    def __iter__(self) -> Iterator[list]:
        epoch = self.epoch
        if epoch is None:
            epoch = getattr(getattr(self.batch_sampler, 'sampler', None), 'epoch', 0)
        turns: Counter[Hashable] = Counter()  # how often an index has come in this pass, which may be an endless one
        for indices in self.batch_sampler:
            if self.skip:
                self.skip -= 1
                turns.update(indices)
                continue
            keys = []
            for index in indices:
                keys.append((self.seed, epoch, int(index) if isinstance(index, np.integer) else index, turns[index]))
                turns[index] += 1
            yield SeededBatch(indices, keys)

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:  # `sampler`, which hooks ask for
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.__dict__['batch_sampler'], name)


def seed_batches(loader: DataLoader, seed: int) -> None:
    """Let the batches of `loader` be seeded, unless it has none or was given some already."""
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return
    if not isinstance(loader.batch_sampler, SeededBatchSampler):
        # DataLoader refuses the assignment to protect its workers; none run yet.
        object.__setattr__(loader, 'batch_sampler', SeededBatchSampler(loader.batch_sampler, seed))
