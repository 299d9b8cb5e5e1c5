from .rpn import RPN
from .two_stage import BaseDetector, CascadeRCNN, FasterRCNN, FastRCNN, MaskRCNN, TwoStageDetector

__all__ = ['BaseDetector', 'CascadeRCNN', 'FastRCNN', 'FasterRCNN', 'MaskRCNN', 'RPN', 'TwoStageDetector']
