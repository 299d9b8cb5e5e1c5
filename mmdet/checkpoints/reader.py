"""Reads checkpoints of every known source."""
from pathlib import Path

import torch
from torch import Tensor

from .file import read_file
from .formats import convert
from .source import local_file


def read_checkpoint(source: str | Path, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a checkpoint of ours, mmdetection, Detectron, detectron2, torchvision or timm, told by its content.

    No code of the file is run, and a change of one byte is noticed in files of today's torch.save.

    Args:
        source: a path, an http(s) URL, torchvision://resnet50 or open-mmlab://detectron2/resnet50_caffe. Downloads are
            kept in torch's cache folder ($TORCH_HOME, else ~/.cache/torch, hub/checkpoints).
        map_location: the device for the tensors; None is the CPU.

    Returns:
        The file's dict if its names are mmdetection's already; else dict(state_dict, meta, conversion), where
        `conversion` (Conversion) tells what became of every entry.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds something other than tensors, arrays and plain data, holds no dict, or is of a
            model that cannot be represented here.
    """
    path = local_file(source)
    checkpoint = read_file(path)
    if map_location is not None and torch.device(map_location).type != 'cpu':
        _move(checkpoint, torch.device(map_location))
    return convert(checkpoint, str(path))


def _move(node: dict | list, device: torch.device) -> None:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, Tensor):
            node[key] = value.to(device)
        elif isinstance(value, (dict, list)):
            _move(value, device)
