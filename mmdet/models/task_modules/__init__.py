from .anchor_generator import AnchorGenerator
from .bbox_coder import DeltaXYWHBBoxCoder
from .legacy import LegacyAnchorGenerator, LegacyDeltaXYWHBBoxCoder
from .matching import MaxIoUAssigner, RandomSampler
from .torchvision_anchors import TorchvisionAnchorGenerator

__all__ = ['AnchorGenerator', 'DeltaXYWHBBoxCoder', 'LegacyAnchorGenerator', 'LegacyDeltaXYWHBBoxCoder',
           'MaxIoUAssigner', 'RandomSampler', 'TorchvisionAnchorGenerator']
