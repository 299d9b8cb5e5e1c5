"""MultiImageMixDataset: samples that are made of several images."""
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from mmdet.errors import UserError
from mmdet.registry import DATASETS, TRANSFORMS

from .classes import settle_metainfo


@DATASETS.register_module()
class MultiImageMixDataset(Dataset):
    """Each sample of a data set goes through `pipeline`, whose transforms may ask for other samples to mix in.

    Such a transform has `get_indexes(dataset)`, an index or several, and finds these samples in
    results['mix_results'].

    Args:
        dataset: config or data set whose pipeline loads an image with its instances.
        pipeline: configs of transforms, the last one PackDetInputs.
        skip_type_keys: types of the pipeline that are left out.
        max_refetch: how often a sample that a transform refuses (None) is drawn anew.
        lazy_init: accepted for mmdetection's configs; the annotations are read at once.

    Raises:
        ValueError: a sample is refused max_refetch times.
    """

    def __init__(self, dataset: Any, pipeline: Sequence[dict], skip_type_keys: Sequence[str] | None = None,
                 max_refetch: int = 15, lazy_init: bool = False):
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.pipeline = [(step['type'], TRANSFORMS.build(step)) for step in pipeline]
        self.max_refetch = max_refetch
        self.update_skip_type_keys(skip_type_keys or ())
        self.full_init()

    def full_init(self) -> None:
        """Read the annotations."""
        self.dataset.full_init()

    @property
    def metainfo(self) -> dict:
        return dict(settle_metainfo(self.dataset))

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """From now on transforms of these types are left out."""
        self.skip_type_keys = tuple(skip_type_keys)

    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(idx)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of an image (what ClassBalancedDataset asks)."""
        return self.dataset.get_cat_ids(idx)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> dict:
        for _ in range(self.max_refetch):
            results = self._mixed(idx)
            if results is not None:
                return results
        raise UserError(f'the pipeline of MultiImageMixDataset refuses image {idx} of its data set {self.max_refetch} '
                        'times (a transform gives None): loosen its limits')

    def _mixed(self, idx: int) -> dict | None:
        results = self.dataset[idx]
        for kind, step in self.pipeline:
            if results is None:
                return None
            if kind in self.skip_type_keys:
                continue
            if hasattr(step, 'get_indexes'):
                chosen = step.get_indexes(self.dataset)
                results['mix_results'] = [self.dataset[i] for i in (chosen if isinstance(chosen, Sequence)
                                                                    else [chosen])]
            results = step(results)
            if results is not None:
                results.pop('mix_results', None)
        return results
