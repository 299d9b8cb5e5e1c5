from .bitmap import BitmapMasks
from .pasted import PastedMasks
from .polygon import PolygonMasks
from .rle import checked_rles
from .windows import MaskWindows

__all__ = ['BitmapMasks', 'MaskWindows', 'PastedMasks', 'PolygonMasks', 'checked_rles']
