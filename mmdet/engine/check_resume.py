"""What a checkpoint says of a training, checked before the training goes on from it.

Weights are checked where they are loaded. Here is the rest: a fused optimizer reads its state by the shapes of the
parameters, whatever its own; a schedule takes whatever stands in the place of its numbers.
"""
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import BaseOptimWrapper
from torch import Tensor
from torch.optim import Optimizer

from mmdet.errors import UserError


def check_training_state(checkpoint: dict, source: str, wrapper: BaseOptimWrapper | dict,
                         schedulers: Sequence | dict | None) -> None:
    """Raise UserError for the first entry of `checkpoint`, read from `source`, that no training can go on from.

    Options of the optimizer that the checkpoint lacks are filled in, and what would be run as a program is taken out.
    """
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    meta.pop('config', None)  # mmengine runs this text; it is no more than the config, which `cfg` holds too
    for name in ('epoch', 'iter'):
        if type(meta.get(name)) is not int or meta[name] < 0:
            raise UserError(f'{source}: meta.{name} is {_shown(meta.get(name))}, not a count of what was trained')
    if not isinstance(meta.get('seed'), (int, type(None))):
        raise UserError(f'{source}: meta.seed is {_shown(meta["seed"])}, not a number')
    for name in ('log_scalars', 'runtime_info', 'resumed_keys'):
        part = hub.get(name) if isinstance(hub, dict) else hub
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            raise UserError(f'{source}: message_hub.{name} is {_shown(part)}, not a dict by name')
    histories = checkpoint.get('cbn_histories', [])
    if not isinstance(histories, list) or not all(isinstance(history, dict) for history in histories):
        raise UserError(f'{source}: cbn_histories is {_shown(histories)}, not a dict of each process')
    optimizer = getattr(wrapper, 'optimizer', None)
    if 'optimizer' in checkpoint and isinstance(optimizer, Optimizer):
        _check_optimizer(checkpoint['optimizer'], f'{source}: optimizer', optimizer, meta['iter'])
    if isinstance(schedulers, list) and 'param_schedulers' in checkpoint:
        saved = checkpoint['param_schedulers']
        if not isinstance(saved, list) or not all(isinstance(state, dict) for state in saved):
            raise UserError(f'{source}: param_schedulers is {_shown(saved)}, not a list of dicts')
        for number, (scheduler, state) in enumerate(zip(schedulers, saved, strict=False)):
            for key, own in scheduler.state_dict().items():
                _check_like(own, state.get(key), f'{source}: param_schedulers[{number}].{key}')


def _check_optimizer(saved: Any, place: str, optimizer: Optimizer, trained: int) -> None:
    scaler = saved.get('loss_scaler') or {} if isinstance(saved, dict) else {}
    if not isinstance(scaler, dict) or not all(isinstance(value, (int, float)) for value in scaler.values()):
        raise UserError(f'{place}.loss_scaler is {_shown(scaler)}, not a dict of numbers')
    groups, state = (saved.get(key) if isinstance(saved, dict) else None for key in ('param_groups', 'state'))
    if not isinstance(groups, list) or not isinstance(state, dict) or \
            not all(isinstance(group, dict) and isinstance(group.get('params'), list) for group in groups):
        raise UserError(f'{place} is {_shown(saved)}, not a dict of state and param_groups')
    sizes, own_sizes = ([len(group['params']) for group in some] for some in (groups, optimizer.param_groups))
    numbers = [number for group in groups for number in group['params']]
    if sizes != own_sizes or any(type(number) is not int for number in numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f'{place} is of {len(numbers)} parameters in {len(sizes)} groups, this training has '
                        f'{sum(own_sizes)} in {len(own_sizes)}: another model or paramwise_cfg. '
                        f'To start anew from its weights: --cfg-options load_from=CHECKPOINT, without --resume')
    for number, (group, own) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        for key, value in own.items():
            if key != 'params':
                _check_like(value, group.setdefault(key, value), f'{place}.param_groups[{number}].{key}')
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    names = _state_names(optimizer)
    exact = 'fused' in optimizer.defaults
    if names and not state and trained:
        raise UserError(f'{place}.state is empty after {trained} iterations; to start anew from the weights: '
                        '--cfg-options load_from=CHECKPOINT, without --resume')
    for number, parameter in zip(numbers, parameters, strict=True):
        values = state.get(number, {})
        kind = type(optimizer).__name__
        if not isinstance(values, dict) or values and names and not names <= values.keys():
            held = ', '.join(map(str, values)) if isinstance(values, dict) else _shown(values)
            raise UserError(f'{place}.state[{number}] holds {held[:200]}, but {kind} needs {", ".join(sorted(names))}; '
                            'to start anew from the weights: --cfg-options load_from=CHECKPOINT, without --resume')
        for name, value in values.items():
            where = f'{place}.state[{number}].{name}'
            if not isinstance(value, Tensor):
                if value is not None and (not isinstance(value, (int, float)) or not math.isfinite(value)):
                    raise UserError(f'{where} is {_shown(value)}')
                continue
            fits = value.shape == parameter.shape or value.dim() == 0 or not exact and value.dim() == parameter.dim() \
                and all(size in (1, whole) for size, whole in zip(value.shape, parameter.shape, strict=True))
            if not fits or not value.is_floating_point():
                raise UserError(f'{where} is {value.dtype} of shape {tuple(value.shape)}, its parameter '
                                f'{parameter.dtype} of {tuple(parameter.shape)}')
            if not value.isfinite().all():
                raise UserError(f'{where} holds values that are not finite: take an earlier checkpoint')


def _state_names(optimizer: Optimizer) -> set[str]:
    """What `optimizer` keeps of each parameter, found by a step with one of its own kind."""
    probe = torch.nn.Parameter(torch.zeros(2, 2))
    probe.grad = torch.zeros(2, 2)
    options = {key: value for key, value in optimizer.param_groups[0].items() if key in optimizer.defaults}
    kind: Any = type(optimizer)
    trial = kind([dict(options, params=[probe])])
    trial.step()
    return {str(name) for name in trial.state[probe]}


def _check_like(own: Any, value: Any, place: str) -> None:
    """Raise UserError when `value` cannot stand in the place of `own`."""
    if isinstance(own, bool) or own is None or isinstance(own, str):
        fits = value is None or isinstance(value, (bool, str, int, float))
    elif isinstance(own, (int, float)):
        fits = isinstance(value, (int, float)) and math.isfinite(value)
    elif isinstance(own, Tensor):
        fits = isinstance(value, (int, float)) or isinstance(value, Tensor) and value.shape == own.shape
    elif isinstance(own, Mapping):
        fits = isinstance(value, Mapping)
    elif isinstance(own, (list, tuple)):
        fits = isinstance(value, (list, tuple)) and len(value) == len(own) and \
            all(isinstance(part, (int, float)) and math.isfinite(part) for part in value)
    else:
        fits = True
    if not fits:
        raise UserError(f'{place} is {_shown(value)}, here it is {_shown(own)}')


def _shown(value: Any) -> str:
    return f'a {type(value).__name__}' if isinstance(value, (dict, list, tuple, Tensor)) else f'{value!r:.60}'
