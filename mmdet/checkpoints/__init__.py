from .conversion import Conventions, Conversion
from .dataset_meta import saved_dataset_meta
from .file import write_file
from .publish import published, write_published
from .reader import read_checkpoint
from .source import local_file
from .tensor_pickle import load_tensor_pickle
from .torch_file import SAFE_CLASSES
from .weights import Misfit, load_weights, num_classes_of, weights_for, weights_of

__all__ = ['SAFE_CLASSES', 'Conventions', 'Conversion', 'Misfit', 'load_tensor_pickle', 'load_weights', 'local_file',
           'num_classes_of', 'published', 'read_checkpoint', 'saved_dataset_meta', 'weights_for', 'weights_of',
           'write_file', 'write_published']
