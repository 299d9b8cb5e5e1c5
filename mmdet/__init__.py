"""Faster R-CNN and Mask R-CNN whose normalization layer is one line of a config."""
__version__ = '0.1.0'
