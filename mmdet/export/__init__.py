"""Detectors as files that run without this package: ONNX, and torch.export's .pt2."""
from .detector import WholeDetector
from .onnx_file import write_onnx
from .program import describe, export_program

__all__ = ['WholeDetector', 'describe', 'export_program', 'write_onnx']
