"""Readers of foreign checkpoints, one file a source. Each has `recognizes(names)` and `convert(state, path)`."""
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.errors import UserError

from ..conversion import Conventions, Conversion
from ..weights import weights_of
from . import detectron, detectron2, mmdet_1x, resnet, torchvision

__all__ = ['convert']
READERS = (detectron, detectron2, torchvision, mmdet_1x, resnet)


def convert(checkpoint: dict, path: str) -> dict:
    """`checkpoint` itself if its names are mmdetection's, else dict(state_dict, meta, conversion) with names that are.

    Raises ValueError naming file and entry for weights that are no weights, or of a model that does not exist here.
    """
    state = weights_of(checkpoint, path)
    reader = next((reader for reader in READERS if reader.recognizes(state.keys())), None)
    if reader is None:
        return _converted_before(checkpoint, state, path)
    result = reader.convert({name: as_tensor(value) for name, value in state.items()}, path)
    return dict(state_dict=result.weights, meta=checkpoint.get('meta', {}), conversion=result)


def _converted_before(checkpoint: dict, state: Mapping[str, Any], path: str) -> dict:
    """What tools/convert/checkpoint.py wrote tells the conventions of its weights too."""
    meta = checkpoint.get('meta', {})
    told = meta.get('conventions')
    known = {each.name for each in fields(Conventions)}
    if not isinstance(told, dict) or not told.keys() <= known:
        return checkpoint
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}  # lists in JSON
    for name, value in told.items():
        numbers = isinstance(value, tuple) and len(value) == 3 and all(isinstance(n, (int, float)) for n in value)
        if value is not None and not (numbers if name in ('mean', 'std') else isinstance(value, (str, bool))):
            raise UserError(f'{path}: meta.conventions.{name} is {value!r:.80}')
    part = 'detector' if any(name.startswith('rpn_head.') for name in state) else 'backbone'
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    conversion = Conversion(f'{meta.get("converted_from")}, converted', part, weights, {name: name for name in weights},
                            conventions=Conventions(**told))
    return {**checkpoint, 'conversion': conversion}


def as_tensor(value: Any) -> Any:
    """Arrays as tensors; what is no array of numbers stays."""
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        # Both copies are needed: PyTorch knows neither foreign byte orders nor subclasses.
        value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder('='), order='C', subok=False))
    return value
