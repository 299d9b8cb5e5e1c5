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
    state = weights_of(checkpoint)
    reader = next((reader for reader in READERS if reader.recognizes(state.keys())), None)
    if reader is None:
        for name, value in state.items():
            if isinstance(value, Tensor):
                check_storage(name, value, path)
        return _converted_before(checkpoint, state)
    result = reader.convert({name: as_tensor(name, value, path) for name, value in state.items()}, path)
    meta = checkpoint.get('meta')
    return dict(state_dict=result.weights, meta=meta if isinstance(meta, dict) else {}, conversion=result)


def _converted_before(checkpoint: dict, state: Mapping[str, Any]) -> dict:
    """What tools/convert/checkpoint.py wrote tells the conventions of its weights too."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    told = meta.get('conventions')
    known = {each.name for each in fields(Conventions)}
    if not isinstance(told, dict) or not told.keys() <= known:
        return checkpoint
    part = 'detector' if any(name.startswith('rpn_head.') for name in state) else 'backbone'
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    conversion = Conversion(f'{meta.get("converted_from")}, converted', part, weights, {name: name for name in weights},
                            conventions=Conventions(**told))
    return {**checkpoint, 'conversion': conversion}


def as_tensor(name: str, value: Any, path: str) -> Any:
    """Arrays as tensors; what is no array of numbers stays."""
    if isinstance(value, Tensor):
        check_storage(name, value, path)
    elif isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        # Both copies are needed: PyTorch knows neither foreign byte orders nor subclasses.
        value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder('='), order='C', subok=False))
    return value


def check_storage(name: str, value: Tensor, path: str) -> None:
    """A tensor may claim more values than it has, all in one place: copying it would fill the memory."""
    if value.layout is not torch.strided or value.is_meta:
        raise UserError(f'{path}: {name} holds no values ({value.layout}, {value.device})')
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise UserError(f'{path}: {name} of shape {tuple(value.shape)} has fewer values than its shape says')
