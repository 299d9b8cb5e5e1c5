from .resnet import ResNet
from .resnext import ResNeXt
from .timm_backbone import TIMMBackbone

__all__ = ['ResNeXt', 'ResNet', 'TIMMBackbone']
