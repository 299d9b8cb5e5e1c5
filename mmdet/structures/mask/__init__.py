from .bitmap import BitmapMasks
from .pasted import PastedMasks
from .polygon import PolygonMasks
from .windows import MaskWindows

__all__ = ['BitmapMasks', 'MaskWindows', 'PastedMasks', 'PolygonMasks']
