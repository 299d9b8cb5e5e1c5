from . import transforms
from .coco import CocoDataset
from .samplers import AspectRatioBatchSampler

__all__ = ['AspectRatioBatchSampler', 'CocoDataset', 'transforms']
