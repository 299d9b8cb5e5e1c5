from . import transforms
from .cityscapes import CityscapesDataset
from .coco import CocoDataset
from .coco_json import read_coco_json
from .collate import stacked_collate
from .concat import ConcatDataset
from .lvis import LVISV05Dataset, LVISV1Dataset
from .multi_image_mix import MultiImageMixDataset
from .samplers import AspectRatioBatchSampler, ClassAwareSampler
from .shapes import ShapesDataset
from .voc import VOCDataset, XMLDataset

LVISDataset = LVISV05Dataset

__all__ = ['AspectRatioBatchSampler', 'CityscapesDataset', 'ClassAwareSampler', 'CocoDataset', 'ConcatDataset',
           'LVISDataset', 'LVISV05Dataset', 'LVISV1Dataset', 'MultiImageMixDataset', 'ShapesDataset', 'VOCDataset',
           'XMLDataset', 'read_coco_json', 'stacked_collate', 'transforms']
