from .crop import RandomCrop
from .flip import RandomFlip
from .formatting import PackDetInputs
from .instances import FilterAnnotations
from .loading import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .pad import Pad
from .photometric import PhotoMetricDistortion
from .resize import RandomChoiceResize, RandomResize, Resize

__all__ = ['FilterAnnotations', 'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'PackDetInputs', 'Pad',
           'PhotoMetricDistortion', 'RandomChoiceResize', 'RandomCrop', 'RandomFlip', 'RandomResize', 'Resize']
