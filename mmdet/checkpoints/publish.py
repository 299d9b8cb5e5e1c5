"""A checkpoint without what only its own training needs, under a name that tells its content."""
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmdet.errors import UserError

from .file import write_file
from .weights import weights_of

SUFFIXES = ('.pth', '.safetensors')
OF_THE_TRAINING = {'random_states', 'partial_gradients', 'epoch_length', 'sampler_seed', 'sample_seed', 'validated',
                   'hook_msgs'}  # entries of meta


def published(checkpoint: Mapping, source: str) -> dict[str, Any]:
    """dict(state_dict, meta) of tensors and Python's own types alone, which torch.load(weights_only=True) reads.

    Where EMAHook averaged the weights, `state_dict` holds the averages already, and they are what is kept. Raises
    ValueError that names the entry of `source` for weights that are none, or not finite.
    """
    found = weights_of(checkpoint, source)
    weights: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in found.items():
        if name.startswith('ema_'):  # mmdetection 2's EMAHook: what the optimizer goes on with
            continue
        if not isinstance(value, Tensor):
            raise UserError(f'{source}: {name} is a {type(value).__name__}, not a tensor; is this a checkpoint of a '
                            'model?')
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f'{source}: {name} holds values that are not finite; take an earlier checkpoint')
        weights[name] = value.detach().clone()  # a view would bring along all that it is a view of
    if not weights:
        raise UserError(f'{source} holds no weights')
    weights._metadata = found._metadata  # type: ignore[attr-defined]  # the layers' versions
    meta = {key: plain(value) for key, value in (checkpoint.get('meta') or {}).items() if key not in OF_THE_TRAINING}
    if (conversion := checkpoint.get('conversion')) is not None and 'conventions' not in meta:
        meta.update(converted_from=conversion.source, conventions=asdict(conversion.conventions))
    return dict(state_dict=weights, meta=meta)


def plain(value: Any) -> Any:
    """`value` of numbers, text, lists, tuples and dicts; None for what is something else."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(plain(item) for item in value)
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), None)


def write_published(checkpoint: Mapping, out: Path, force: bool = False) -> tuple[Path, str]:
    """Write what `published` returns as `out`, with the first 8 digits of its SHA-256 in the name.

    The same content gives the same name.

    Args:
        out: a name that ends in .pth or .safetensors: NAME.pth becomes NAME-abcdef12.pth. Without either it is a .pth.
        force: replace a file of that name.

    Returns:
        The file, and its whole SHA-256.

    Raises:
        ValueError: another ending, a folder, or a file that exists.
    """
    if out.is_dir():
        raise UserError(f'{out} is a folder; name a file in it')
    if out.suffix not in ('', *SUFFIXES):
        raise UserError(f'{out}: the name must end in {" or ".join(SUFFIXES)}')
    suffix = out.suffix or '.pth'
    part = out.with_name(f'.{out.stem}.part{suffix}')
    try:
        write_file(part, checkpoint['state_dict'], checkpoint['meta'])
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        path = out.with_name(f'{out.stem}-{digest[:8]}{suffix}')
        if path.exists() and not force:
            raise UserError(f'{path} exists; --force replaces it')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path, digest
