"""Faster R-CNN and Mask R-CNN whose normalization layer is one line of a config."""
from importlib import metadata

from . import import_paths

__version__ = '0.2.0'

# mmdetection installs a package of this name too: files of the two would mix.
try:
    _other = metadata.version('mmdet')
except metadata.PackageNotFoundError:
    pass
else:
    raise ImportError(f'mmdet {_other} (mmdetection) is installed beside mmdet-norms, and both are the package mmdet: '
                      'pip uninstall mmdet, or give each its own environment')
import_paths.install()
