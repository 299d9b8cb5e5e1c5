from .anchor_generator import AnchorGenerator
from .bbox_coder import DeltaXYWHBBoxCoder
from .legacy import LegacyAnchorGenerator, LegacyDeltaXYWHBBoxCoder
from .matching import MaxIoUAssigner, RandomSampler
from .samplers import (
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
)
from .torchvision_anchors import TorchvisionAnchorGenerator

__all__ = ['AnchorGenerator', 'CombinedSampler', 'DeltaXYWHBBoxCoder', 'InstanceBalancedPosSampler',
           'IoUBalancedNegSampler', 'LegacyAnchorGenerator', 'LegacyDeltaXYWHBBoxCoder', 'MaxIoUAssigner',
           'OHEMSampler', 'PseudoSampler', 'RandomSampler', 'TorchvisionAnchorGenerator']
