from . import transforms
from .coco import CocoDataset
from .samplers import AspectRatioBatchSampler
from .shapes import ShapesDataset

__all__ = ['AspectRatioBatchSampler', 'CocoDataset', 'ShapesDataset', 'transforms']
