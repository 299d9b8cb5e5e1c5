from .reader import SAFE_CLASSES, read_checkpoint
from .source import local_file
from .weights import Misfit, load_weights, weights_of

__all__ = ['SAFE_CLASSES', 'Misfit', 'load_weights', 'local_file', 'read_checkpoint', 'weights_of']
