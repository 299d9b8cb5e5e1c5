from .anchor_generator import AnchorGenerator
from .bbox_coder import DeltaXYWHBBoxCoder
from .matching import MaxIoUAssigner, RandomSampler

__all__ = ['AnchorGenerator', 'DeltaXYWHBBoxCoder', 'MaxIoUAssigner', 'RandomSampler']
