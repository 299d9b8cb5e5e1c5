"""Several data sets as one."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import ConcatDataset as _ConcatDataset

from mmdet.errors import UserError
from mmdet.registry import DATASETS

from .classes import settle_metainfo, shown_names, with_classes


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """mmengine's, where the first data set decides the classes and the others are matched to them by name.

    Args:
        datasets: configs or data sets; data sets must have the same classes already.
        lazy_init, ignore_keys: accepted for mmengine's configs. The annotations are read at once, since without them
            the classes are not known; only classes must be equal.
    """

    def __init__(self, datasets: Sequence[Any], lazy_init: bool = False, ignore_keys: str | list[str] | None = None):
        self.datasets = []
        metas: list[dict] = []
        for i, dataset in enumerate(datasets):
            if isinstance(dataset, Mapping):
                if metas and 'classes' in metas[0]:
                    dataset = with_classes(dataset, metas[0], f'data set {i} of ConcatDataset')
                dataset = DATASETS.build(dataset)
            dataset.full_init()
            self.datasets.append(dataset)
            metas.append(settle_metainfo(dataset))
            classes = [meta.get('classes', ()) for meta in metas]
            if classes[i] != classes[0]:
                raise UserError(f'data set {i} of ConcatDataset has the classes {shown_names(classes[i])}, data set 0 '
                                f'{shown_names(classes[0])}: give both the same in metainfo')
        self._fully_initialized = False
        self.full_init()
        self._metainfo = {**metas[0], 'cumulative_sizes': self.cumulative_sizes}  # for MultiDatasetsEvaluator

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of an image (what ClassBalancedDataset asks)."""
        which, place = self._get_ori_dataset_idx(idx)
        return self.datasets[which].get_cat_ids(place)
