"""CocoDataset: COCO-format instance annotations."""
import logging
import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import cv2
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from mmdet.errors import UserError
from mmdet.registry import DATASETS

from .classes import class_names, labels_by_name, one_id_a_name, shown_names
from .coco_classes import COCO_CLASSES, COCO_PALETTE
from .coco_json import read_coco_json


@DATASETS.register_module()
class CocoDataset(BaseDataset):
    """Images with boxes, classes and masks from a COCO-format annotation file.

    Label i is metainfo['classes'][i]: the classes given in `metainfo`, else COCO's, else (when the file has categories
    that are not COCO's) all categories of the file in its order. Categories are matched to the classes by name, and
    those of one name are one class. In a Runner, the training's classes (a checkpoint's) are given to every data set.

    Args:
        backend_args: how mmengine.fileio reads `ann_file`.
        ann_file, metainfo, args, kwargs: those of mmengine.dataset.BaseDataset, among them data_root,
            data_prefix=dict(img=folder), filter_cfg=dict(filter_empty_gt=bool, min_size=pixels), pipeline, test_mode.

    Raises:
        FileNotFoundError, ValueError: see read_coco_json; also when no class or no image is left.
    """
    METAINFO = dict(classes=COCO_CLASSES, palette=COCO_PALETTE)

    def __init__(self, ann_file: str = '', metainfo: Mapping | None = None, *args: Any,
                 backend_args: dict | None = None, **kwargs: Any):
        self.backend_args = backend_args
        self._classes_given = 'classes' in (metainfo or {}) or type(self).METAINFO is not CocoDataset.METAINFO
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
        data = read_coco_json(self.ann_file, self.backend_args, self.test_mode)
        label_of = self._match_classes(data['categories'], Counter(ann['category_id'] for ann in data['annotations']))
        annotations: dict[int, list[dict]] = defaultdict(list)
        for ann in data['annotations']:
            if ann['category_id'] in label_of:
                annotations[ann['image_id']].append(ann)
        self._annotated: set[int] | None = set(annotations)  # for filter_data
        folder = self.data_prefix.get('img', self.data_prefix.get('img_path', ''))
        return [dict(img_path=osp.join(folder, image['file_name']), img_id=image['id'], height=image['height'],
                     width=image['width'], instances=_instances(annotations[image['id']], image, label_of))
                for image in data['images']]

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

    def filter_data(self) -> list[dict]:
        """Drop the images that filter_cfg rules out, except in test mode."""
        cfg = self.filter_cfg or {}
        annotated, self._annotated = self._annotated or set(), None
        if self.test_mode or not cfg:
            return self.data_list
        min_size, filter_empty = cfg.get('min_size', 0), cfg.get('filter_empty_gt', False)
        kept = [info for info in self.data_list if min(info['width'], info['height']) >= min_size
                and (info['img_id'] in annotated or not filter_empty)]
        if not kept:
            raise UserError(f'filter_cfg={dict(cfg)} leaves none of the {len(self.data_list)} images of '
                             f'{self.ann_file}; {len(annotated)} have annotations of the classes '
                             f'{self._metainfo["classes"]}')
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of an image (what ClassBalancedDataset asks)."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]

    def prepare_data(self, idx: int) -> dict | None:
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # the workers run in parallel; threads of cv2 in each would compete for the cores
        return super().prepare_data(idx)


def _palette(number: int) -> list[tuple[int, int, int]]:
    return [COCO_PALETTE[i % len(COCO_PALETTE)] for i in range(number)]


def _instances(annotations: list[dict], image: dict, label_of: dict[int, int]) -> list[dict]:
    """The annotations a detector can learn from or ignores, by mmdetection's rules: boxes xyxy, crowds flagged."""
    instances = []
    for ann in annotations:
        x, y, width, height = ann['bbox']
        inside = x < image['width'] and y < image['height'] and x + width > 0 and y + height > 0
        if ann.get('ignore') or not inside or width < 1 or height < 1 or ann['area'] <= 0:
            continue
        instance = dict(bbox=[x, y, x + width, y + height], bbox_label=label_of[ann['category_id']],
                        ignore_flag=int(bool(ann['iscrowd'])))
        if ann.get('segmentation'):
            instance['mask'] = ann['segmentation']
        instances.append(instance)
    return instances
