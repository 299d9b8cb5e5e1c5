from .backbones import ResNet, ResNeXt, TIMMBackbone
from .data_preprocessor import BatchFixedSizePad, DetDataPreprocessor
from .dense_heads import RPNHead
from .detectors import RPN, CascadeRCNN, FasterRCNN, FastRCNN, MaskRCNN
from .iou_losses import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss
from .losses import BalancedL1Loss, CrossEntropyLoss, L1Loss, SmoothL1Loss
from .necks import BFP, FPN, PAFPN
from .roi_heads import CascadeRoIHead, StandardRoIHead
from .test_time_augs import DetTTAModel

__all__ = ['BFP', 'FPN', 'PAFPN', 'RPN', 'BalancedL1Loss', 'BatchFixedSizePad', 'BoundedIoULoss', 'CIoULoss',
           'CascadeRCNN', 'CascadeRoIHead', 'CrossEntropyLoss', 'DIoULoss', 'DetDataPreprocessor', 'DetTTAModel',
           'FastRCNN', 'FasterRCNN', 'GIoULoss', 'IoULoss', 'L1Loss', 'MaskRCNN', 'RPNHead', 'ResNeXt', 'ResNet',
           'SmoothL1Loss', 'StandardRoIHead', 'TIMMBackbone']
