from . import transforms
from .coco import CocoDataset
from .coco_json import read_coco_json
from .collate import stacked_collate
from .concat import ConcatDataset
from .samplers import AspectRatioBatchSampler
from .shapes import ShapesDataset
from .voc import VOCDataset, XMLDataset

__all__ = ['AspectRatioBatchSampler', 'CocoDataset', 'ConcatDataset', 'ShapesDataset', 'VOCDataset', 'XMLDataset',
           'read_coco_json', 'stacked_collate', 'transforms']
