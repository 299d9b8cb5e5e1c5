"""CocoDataset: COCO-format instance annotations."""
import itertools
import logging
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from mmdet.errors import UserError
from mmdet.registry import DATASETS

from .annotations import AnnotationTable, read_annotations
from .classes import class_names, labels_by_name, one_id_a_name, shown_names
from .coco_classes import COCO_CLASSES, COCO_PALETTE
from .coco_images import CocoImages
from .doubtful import tell_doubts
from .learnable import learnable_objects
from .proposals import ProposalFile


@DATASETS.register_module()
class CocoDataset(BaseDataset):
    """Images with boxes, classes and masks from a COCO-format annotation file.

    Label i is `metainfo['classes'][i]`: the classes given in `metainfo`, else COCO's, else (when the file has
    categories that are not COCO's) all categories of the file in its order. Categories are matched to the classes by
    name, and those of one name are one class. In a Runner, the training's classes (a checkpoint's) are given to every
    data set.

    Args:
        backend_args: how mmengine.fileio reads `ann_file`.
        proposal_file: see ProposalFile; relative to data_root. Its boxes are `proposals` of what a pipeline gets.
        ann_file, metainfo, args, kwargs: those of mmengine.dataset.BaseDataset, among them data_root,
            data_prefix=dict(img=folder), filter_cfg=dict(filter_empty_gt=bool, min_size=pixels), pipeline, test_mode.

    Raises:
        FileNotFoundError, ValueError: see read_annotations; also when no class, object or image is left.
    """
    METAINFO = dict(classes=COCO_CLASSES, palette=COCO_PALETTE)
    USUAL_METAINFO = METAINFO  # gives way to the names of a file that are not among its classes
    CROWDS_COUNT = True  # an image of crowds alone is not empty for filter_cfg.filter_empty_gt
    _fully_initialized: bool = False
    _proposals: ProposalFile | None = None

    def __init__(self, ann_file: str = '', metainfo: Mapping | None = None, *args: Any,
                 backend_args: dict | None = None, proposal_file: str | None = None, **kwargs: Any):
        self.backend_args = backend_args
        self.proposal_file = proposal_file
        self._classes_given = 'classes' in (metainfo or {}) or self.METAINFO is not self.USUAL_METAINFO
        super().__init__(ann_file, metainfo, *args, **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        given = metainfo or {}
        if 'CLASSES' in given:
            raise UserError("metainfo has the key 'CLASSES': since mmdetection 3 it is written 'classes'")
        meta = super()._load_metainfo(metainfo)
        meta['classes'] = class_names(meta['classes'])
        if 'classes' in given and 'palette' not in given:
            meta['palette'] = _palette(len(meta['classes']))
        return meta

    def load_data_list(self) -> list[dict]:
        """Read `ann_file`: one dict an image with img_path, img_id, height, width and its `instances`."""
        return list(self._read_images())

    def full_init(self) -> None:
        """Read and filter the annotations."""
        overridden = any(getattr(type(self), name) is not getattr(CocoDataset, name)
                         for name in ('load_data_list', 'filter_data'))
        if self._fully_initialized or overridden:  # a subclass may change the dicts, so it gets all of them
            super().full_init()
            return self._read_proposals()
        self.serialize_data = False  # the table behind CocoImages is shared as it is
        self.data_list: Sequence[dict] = self._read_images()
        self.data_list = self.filter_data()
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        self._fully_initialized = True
        self._read_proposals()

    def _read_proposals(self) -> None:
        if self.proposal_file is not None and self._proposals is None:
            path = osp.join(self.data_root or '', self.proposal_file)
            self._proposals = ProposalFile(path, self.backend_args)
            self._proposals.check(self.data_list.paths() if isinstance(self.data_list, CocoImages) else ())

    def get_data_info(self, idx: int) -> dict:
        if isinstance(self.data_list, CocoImages):
            info = dict(self.data_list[idx], sample_idx=idx if idx >= 0 else len(self) + idx)
        else:
            info = super().get_data_info(idx)
        if self._proposals is not None:
            info['proposals'] = self._proposals.of(info['img_path'])
        return info

    def _get_unserialized_subset(self, indices: Sequence[int] | int) -> Sequence[dict]:
        if isinstance(self.data_list, CocoImages) and isinstance(indices, Sequence):
            return self.data_list[np.array(indices, np.int64)]
        return super()._get_unserialized_subset(indices)

    def _read_images(self) -> CocoImages:
        table = self._read_table()
        tell_doubts(table, self.ann_file)
        categories = table.categories
        counts = np.bincount(table.category, minlength=len(categories)).tolist()
        label_of = self._match_classes(categories, Counter({category['id']: count for category, count
                                                            in zip(categories, counts, strict=True)}))
        labels = np.array([label_of.get(category['id'], -1) for category in categories], np.int64)
        return CocoImages(table, self._image_folder(), labels, self._kept_objects(table, labels))

    def _read_table(self) -> AnnotationTable:
        return read_annotations(self.ann_file, self.backend_args, self.test_mode)

    def _image_folder(self) -> str:
        return self.data_prefix.get('img', self.data_prefix.get('img_path', ''))

    def _kept_objects(self, table: AnnotationTable, labels: np.ndarray) -> np.ndarray:
        return learnable_objects(table, labels, None if self.test_mode else self.ann_file)

    def _match_classes(self, categories: list[dict], objects: Mapping[Any, int]) -> dict[Any, int]:
        """Label of each category id; `objects` counts the annotations of each. Sets the classes of the data set."""
        one_id_a_name(categories, self.ann_file)  # says which names stand there twice
        names = tuple(dict.fromkeys(category['name'] for category in categories))
        if not self._classes_given and not set(names) <= set(self._metainfo['classes']):
            self._metainfo.update(classes=names, palette=_palette(len(names)))
            print_log(f'{self.ann_file} has categories of its own: classes={names}. Set num_classes={len(names)} in '
                      "the model's heads; metainfo=dict(classes=...) picks some or orders them.", 'current')
        classes = self._metainfo['classes']
        if self._classes_given and not self.test_mode:
            twice = [name for name, count in Counter(classes).items() if count > 1]
            if twice:
                raise UserError(f'metainfo.classes names {shown_names(twice)} more than once')
        labels = labels_by_name(categories, classes, objects, self.ann_file, chosen=not self.test_mode)
        unknown = [name for name in classes if name not in names]
        if unknown and self._classes_given and not self.test_mode:
            print_log(f'{self.ann_file} has no category {shown_names(unknown)}: nothing is learned of it there',
                      'current', logging.WARNING)
        return labels

    def filter_data(self) -> Sequence[dict]:
        """Drop the images that filter_cfg rules out, except in test mode."""
        cfg, images = self.filter_cfg or {}, self.data_list
        if self.test_mode or not cfg:
            return images
        if isinstance(images, CocoImages):
            sizes, num_instances = images.sizes, images.num_instances(self.CROWDS_COUNT)
        else:
            sizes = np.array([(info['height'], info['width']) for info in images]).reshape(-1, 2)
            num_instances = np.array([sum(self.CROWDS_COUNT or not instance['ignore_flag']
                                          for instance in info['instances']) for info in images])
        kept = sizes.min(axis=1) >= cfg.get('min_size', 0)
        if cfg.get('filter_empty_gt', False):
            kept &= num_instances > 0
        if not kept.any():
            raise UserError(f'filter_cfg={dict(cfg)} leaves none of the {len(images)} images of {self.ann_file}; '
                            f'{np.count_nonzero(num_instances)} have annotations of the classes '
                            f'{self._metainfo["classes"]}')
        return images[kept] if isinstance(images, CocoImages) else list(itertools.compress(images, kept))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of an image (what ClassBalancedDataset asks)."""
        if isinstance(self.data_list, CocoImages):
            return self.data_list.labels_of(idx)
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]

    def prepare_data(self, idx: int) -> dict | None:
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # the workers run in parallel; threads of cv2 in each would compete for the cores
        return super().prepare_data(idx)


def _palette(number: int) -> list[tuple[int, int, int]]:
    return [COCO_PALETTE[i % len(COCO_PALETTE)] for i in range(number)]
