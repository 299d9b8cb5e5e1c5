from .bitmap import BitmapMasks
from .polygon import PolygonMasks
from .windows import MaskWindows

__all__ = ['BitmapMasks', 'MaskWindows', 'PolygonMasks']
