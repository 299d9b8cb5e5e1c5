from . import transforms
from .coco import CocoDataset
from .coco_json import read_coco_json
from .collate import stacked_collate
from .samplers import AspectRatioBatchSampler
from .shapes import ShapesDataset

__all__ = ['AspectRatioBatchSampler', 'CocoDataset', 'ShapesDataset', 'read_coco_json', 'stacked_collate',
           'transforms']
