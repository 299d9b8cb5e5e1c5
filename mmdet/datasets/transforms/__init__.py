from .affine import RandomAffine, Rotate, ShearX, ShearY, TranslateX, TranslateY
from .albu import Albu
from .auto_augment import AutoAugment, RandAugment
from .color import (
    AutoContrast,
    Brightness,
    Color,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
    SolarizeAdd,
)
from .copy_paste import CopyPaste
from .corrupt import Corrupt
from .crop import Expand, MinIoURandomCrop, RandomCrop
from .cut_out import CutOut
from .flip import RandomFlip
from .formatting import PackDetInputs
from .instances import FilterAnnotations
from .loading import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .mosaic import MixUp, Mosaic
from .pad import Pad
from .photometric import PhotoMetricDistortion
from .proposals import LoadProposals, ProposalBroadcaster
from .resize import FixShapeResize, RandomChoiceResize, RandomResize, Resize

__all__ = ['Albu', 'AutoAugment', 'AutoContrast', 'Brightness', 'Color', 'Contrast', 'CopyPaste', 'Corrupt', 'CutOut',
           'Equalize', 'Expand', 'FilterAnnotations', 'FixShapeResize', 'Invert', 'LoadAnnotations',
           'LoadImageFromFile', 'LoadImageFromNDArray', 'LoadProposals', 'MinIoURandomCrop', 'MixUp', 'Mosaic',
           'PackDetInputs', 'Pad', 'PhotoMetricDistortion', 'Posterize', 'ProposalBroadcaster', 'RandAugment',
           'RandomAffine', 'RandomChoiceResize', 'RandomCrop', 'RandomFlip', 'RandomResize', 'Resize', 'Rotate',
           'Sharpness', 'ShearX', 'ShearY', 'Solarize', 'SolarizeAdd', 'TranslateX', 'TranslateY']
