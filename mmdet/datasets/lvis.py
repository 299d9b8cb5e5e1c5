"""LVIS: many classes, each annotated in some of the pictures (arXiv 1908.03195)."""
import dataclasses

from mmdet.registry import DATASETS

from .annotations import AnnotationTable
from .annotations.table import texts
from .coco import CocoDataset


@DATASETS.register_module()
class LVISV1Dataset(CocoDataset):
    """LVIS v1. The classes are the categories of the annotation file in its order, 1203 in the published ones.

    Its images have no file_name: the path in their coco_url, such as val2017/000000000139.jpg, stands for it.
    Arguments and errors are CocoDataset's. LVISMetric evaluates.
    """
    METAINFO: dict = dict(classes=(), palette=[])
    USUAL_METAINFO = METAINFO


@DATASETS.register_module(name=['LVISV05Dataset', 'LVISDataset'])
class LVISV05Dataset(LVISV1Dataset):
    """LVIS v0.5, 1230 classes. COCO_val2014_000000000139.jpg is 000000000139.jpg, as COCO 2017 names it."""

    def _read_table(self) -> AnnotationTable:
        table = super()._read_table()
        names = [table.file_name(i) for i in range(table.num_images)]
        file_names, at = texts([name[-16:] if name.startswith('COCO') else name for name in names])
        return dataclasses.replace(table, file_names=file_names, file_names_at=at)
