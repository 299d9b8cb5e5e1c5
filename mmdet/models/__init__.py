from .backbones import ResNet, ResNeXt
from .data_preprocessor import BatchFixedSizePad, DetDataPreprocessor
from .dense_heads import RPNHead
from .detectors import FasterRCNN, MaskRCNN
from .iou_losses import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss
from .losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from .necks import BFP, FPN, PAFPN
from .roi_heads import StandardRoIHead
from .test_time_augs import DetTTAModel

__all__ = ['BFP', 'FPN', 'PAFPN', 'BatchFixedSizePad', 'BoundedIoULoss', 'CIoULoss', 'CrossEntropyLoss', 'DIoULoss',
           'DetDataPreprocessor', 'DetTTAModel', 'FasterRCNN', 'GIoULoss', 'IoULoss', 'L1Loss', 'MaskRCNN', 'RPNHead',
           'ResNeXt', 'ResNet', 'SmoothL1Loss', 'StandardRoIHead']
