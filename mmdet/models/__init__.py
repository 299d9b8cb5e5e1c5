from .backbones import ResNet
from .data_preprocessor import BatchFixedSizePad, DetDataPreprocessor
from .dense_heads import RPNHead
from .detectors import FasterRCNN, MaskRCNN
from .iou_losses import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss
from .losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from .necks import FPN
from .roi_heads import StandardRoIHead
from .test_time_augs import DetTTAModel

__all__ = ['BatchFixedSizePad', 'BoundedIoULoss', 'CIoULoss', 'CrossEntropyLoss', 'DIoULoss', 'DetDataPreprocessor',
           'DetTTAModel', 'FPN', 'FasterRCNN', 'GIoULoss', 'IoULoss', 'L1Loss', 'MaskRCNN', 'RPNHead', 'ResNet',
           'SmoothL1Loss', 'StandardRoIHead']
