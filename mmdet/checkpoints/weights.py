"""Puts a checkpoint's weights into a model and says in a short table what did not fit."""
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmdet.errors import UserError

from .conversion import Conversion

SHOWN = 6  # names per section of the table


class Misfit(NamedTuple):
    """What a model and a file do not share. mismatched_keys: name -> (shape in the file, shape in the model)."""
    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched_keys: dict[str, tuple[list[int], list[int]]]

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        shapes = [(name, f'file {of_file}, model {of_model}')
                  for name, (of_file, of_model) in self.mismatched_keys.items()]
        lines = []
        for title, rows in (('of another shape', shapes),
                            ('missing in the file', [(name, '') for name in self.missing_keys]),
                            ('left over in the file', [(name, '') for name in self.unexpected_keys])):
            if rows:
                lines.append(f'  {title}: {len(rows)}')
                lines += [f'    {name:<48} {note}'.rstrip() for name, note in rows[:SHOWN]]
                lines += [f'    ... and {len(rows) - SHOWN} more'] if len(rows) > SHOWN else []
        if shapes:
            lines.append("  What is of another shape keeps the model's own values. To take it from the file, give the "
                         'model the num_classes, channels or depth that the file was made with.')
        return '\n'.join(lines)


def weights_of(checkpoint: Mapping, source: str = 'the checkpoint') -> OrderedDict[str, Any]:
    """The name -> value part, wherever the source keeps it, without the `module.` of DistributedDataParallel.

    Raises ValueError where that is no dict or has names that are no text.
    """
    state_dict = next((checkpoint[key] for key in ('state_dict', 'model', 'blobs')
                       if isinstance(checkpoint.get(key), Mapping)), checkpoint.get('state_dict', checkpoint))
    if not isinstance(state_dict, Mapping):
        raise UserError(f'{source}: state_dict is a {type(state_dict).__name__}, not a dict of names and tensors')
    odd = next((name for name in state_dict if not isinstance(name, str)), None)
    if odd is not None or None in state_dict:
        raise UserError(f'{source}: {odd!r:.40} is the name of an entry; weights have names of text')
    weights = OrderedDict((name.removeprefix('module.'), value) for name, value in state_dict.items())
    weights._metadata = getattr(state_dict, '_metadata', {})  # type: ignore[attr-defined]  # the layers' versions
    return weights


def weights_for(model: nn.Module, conversion: Conversion) -> dict[str, Tensor]:
    """A foreign checkpoint's weights for the model's number of classes; a backbone's for a detector's backbone."""
    names = model.state_dict().keys()
    if conversion.part == 'backbone' and any(name.startswith('backbone.') for name in names):
        return {f'backbone.{name}': value for name, value in conversion.weights.items()}
    return dict(conversion.for_classes(num_classes_of(model)))


def num_classes_of(model: nn.Module) -> int | None:
    """The number of classes that a detector's box head, of a cascade the first, tells apart."""
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    return getattr(head[0] if isinstance(head, nn.ModuleList) else head, 'num_classes', None)


def load_weights(model: nn.Module, checkpoint: Mapping, strict: bool = False, source: str = 'the checkpoint') -> Misfit:
    """Copy every weight that fits into `model` and return what did not.

    A foreign checkpoint (with a `conversion`, see read_checkpoint) gives the classes that the model has, a backbone's
    goes into the model's backbone, and a warning names every convention of its weights that the model does not keep.
    Raises ValueError with the table of misfits when nothing fits, and with `strict` when anything does not.
    num_batches_tracked may be missing: it counts steps and changes no result.
    """
    conversion = checkpoint.get('conversion')
    weights: dict[str, Any]
    if conversion is None:
        weights = weights_of(checkpoint)
    else:
        weights = weights_for(model, conversion)
        for conflict in conversion.conventions.conflicts(model):
            warnings.warn(f'{source} ({conversion.source}): {conflict}', stacklevel=2)
    count = len(weights)
    mismatched = _mismatched(model, weights, source)
    for name in mismatched:
        del weights[name]
    missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if name not in mismatched and not name.endswith('num_batches_tracked')]
    misfit = Misfit(missing, list(unexpected), mismatched)
    name = type(model).__name__
    if len(unexpected) + len(mismatched) >= count:
        part = any(f'backbone.{parameter}' in weights for parameter in missing)
        cure = ("to take its backbone set init_cfg.prefix='backbone.'" if part else
                'is it the checkpoint of another model?')
        raise UserError(f'nothing in {source} fits {name}; {cure}\n{misfit}')
    if strict and misfit:
        raise UserError(f'{source} does not fit {name}; is it the checkpoint of another model?\n{misfit}')
    return misfit


def _mismatched(model: nn.Module, weights: Mapping, source: str) -> dict[str, tuple[list[int], list[int]]]:
    """Parameters and buffers of `model` whose shape in `weights` is another: name -> (there, in the model)."""
    found = {}
    for name, own in chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        if name not in weights:
            continue
        value = weights[name]
        if not isinstance(value, Tensor):
            raise UserError(f'{name} in {source} is a {type(value).__name__}, not a tensor: save the checkpoint again')
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f'{name} in {source} holds values that are not finite, so nothing would be found; did its '
                            'training diverge? Take an earlier checkpoint')
        if value.shape != own.shape and (own.dim() or value.shape != (1,)):  # (1,): a number as PyTorch 0.3 wrote it
            found[name] = list(value.shape), list(own.shape)
    return found
