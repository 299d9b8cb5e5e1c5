"""The one reader of annotation files."""
from .read import read_annotations
from .table import AnnotationTable

__all__ = ['AnnotationTable', 'read_annotations']
