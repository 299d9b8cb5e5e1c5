from . import transforms
from .coco import CocoDataset
from .coco_json import read_coco_json
from .samplers import AspectRatioBatchSampler
from .shapes import ShapesDataset

__all__ = ['AspectRatioBatchSampler', 'CocoDataset', 'ShapesDataset', 'read_coco_json', 'transforms']
