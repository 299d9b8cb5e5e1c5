"""Puts a checkpoint's weights into a model and says in a short table what did not fit."""
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from .conversion import Conversion

SHOWN = 6  # names per section of the table


class Misfit(NamedTuple):
    """What a model and a file do not share. other_shape: name -> (shape in the file, shape in the model)."""
    missing: list[str]
    left_over: list[str]
    other_shape: dict[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        rows = [(name, f'file {of_file}, model {of_model}') for name, (of_file, of_model) in self.other_shape.items()]
        sections = [('of another shape', rows), ('missing in the file', [(name, '') for name in self.missing]),
                    ('left over in the file', [(name, '') for name in self.left_over])]
        lines = []
        for title, rows in sections:
            if rows:
                lines.append(f'  {title}: {len(rows)}')
                lines += [f'    {name:<48} {note}'.rstrip() for name, note in rows[:SHOWN]]
                lines += [f'    ... and {len(rows) - SHOWN} more'] if len(rows) > SHOWN else []
        return '\n'.join(lines)


def weights_of(checkpoint: Mapping) -> OrderedDict:
    """The name -> tensor part of a checkpoint, without the `module.` that DistributedDataParallel puts before names."""
    state_dict = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict((name.removeprefix('module.'), value) for name, value in state_dict.items())
    weights._metadata = getattr(state_dict, '_metadata', {})  # the layers' versions
    return weights


def weights_for(model: nn.Module, conversion: Conversion) -> dict:
    """A foreign checkpoint's weights for the model's number of classes; a backbone's for a detector's backbone."""
    names = model.state_dict().keys()
    if conversion.part == 'backbone' and any(name.startswith('backbone.') for name in names):
        return {f'backbone.{name}': value for name, value in conversion.weights.items()}
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    return dict(conversion.for_classes(getattr(head, 'num_classes', None)))


def load_weights(model: nn.Module, checkpoint: Mapping, strict: bool = False, source: str = 'the checkpoint') -> Misfit:
    """Copy every weight that fits into `model` and return what did not.

    A foreign checkpoint (with a `conversion`, see read_checkpoint) gives the classes that the model has, a backbone's
    goes into the model's backbone, and a warning names every convention of its weights that the model does not keep.
    Raises ValueError with the table of misfits when nothing fits, and with `strict` when anything does not.
    num_batches_tracked may be missing: it counts steps and changes no result.
    """
    weights = weights_of(checkpoint)
    conversion = checkpoint.get('conversion')
    if conversion is not None:
        weights = weights_for(model, conversion)
        for conflict in conversion.conventions.conflicts(model):
            warnings.warn(f'{source} ({conversion.source}): {conflict}', stacklevel=2)
    count = len(weights)
    other_shape = {}
    try:
        missing, left_over = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # torch has loaded what fits and lists the rest here alone
        other_shape = {name: (of_file, of_model) for name, of_file, of_model in re.findall(
            r'size mismatch for (\S+): copying a param with shape torch\.Size\((.*?)\) from checkpoint, '
            r'the shape in current model is torch\.Size\((.*?)\)', str(error))}
        if not other_shape:
            raise
        for name in other_shape:
            del weights[name]
        missing, left_over = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if name not in other_shape and not name.endswith('num_batches_tracked')]
    misfit = Misfit(missing, list(left_over), other_shape)
    name = type(model).__name__
    if len(left_over) + len(other_shape) >= count:
        part = any(f'backbone.{parameter}' in weights for parameter in missing)
        cure = ("to take its backbone set init_cfg.prefix='backbone.'" if part else
                'is it the checkpoint of another model?')
        raise ValueError(f'nothing in {source} fits {name}; {cure}\n{misfit}')
    if strict and misfit:
        raise ValueError(f'{source} does not fit {name}; is it the checkpoint of another model?\n{misfit}')
    return misfit
