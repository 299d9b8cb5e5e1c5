"""A config, looked through before anything is built: keys that nobody reads, numbers that cannot be, parts at odds.

Keys of classes are checked where classes are built (mmdet.registry); the rest stands in `known_values`.
"""
import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdet.errors import UserError
from mmdet.registry import LOOPS, MODELS, check_keys, nearest, remember

from .check_model import check_model
from .known_values import ANYWHERE, KEYS, NUMBERS, PARTS

LEVELS = ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET')


def check_config(cfg: Config) -> None:
    """Raise UserError with the dotted key and the cure for the first mistake found. Mends what needs no decision."""
    remember(cfg)
    _check_parts(cfg)
    for place, node, kind in places(cfg._cfg_dict):
        if isinstance(node, dict):
            _check_keys(place, node)
        elif isinstance(node, float) and math.isnan(node):
            raise UserError(f'{place} is nan, which is no number')
        if fnmatchcase(place, '*.data_prefix.*') and not isinstance(node, (str, type(None))):
            raise UserError(f'{place} is {node!r:.80}, but must be a folder\'s name')
        if not isinstance(node, dict) and place.rpartition('.')[0] != 'default_hooks':  # where keys name hooks
            _check_number(place, node, kind)
    for name in ('train', 'val', 'test'):
        _mend_loader(cfg, f'{name}_dataloader')
    for name, kind in (('val_cfg', 'ValLoop'), ('test_cfg', 'TestLoop')):
        if isinstance(cfg.get(name), dict):
            check_keys({'type': kind, **cfg[name]}, LOOPS)
    level = cfg.get('log_level', 'INFO')
    if not isinstance(level, int) and level not in LEVELS:
        raise UserError(f'log_level is {level!r}; known: {", ".join(LEVELS)}')
    check_model(cfg.get('model'))
    _check_monitored(cfg)


def _check_parts(cfg: Config) -> None:
    for key, kinds in PARTS.items():
        value = cfg.get(key)
        if isinstance(value, (bool, int, float, str, dict, list, tuple)) and not isinstance(value, kinds):
            raise UserError(f'{key} is {value!r:.80}, but must be a '
                            f'{" or a ".join(kind.__name__ for kind in kinds if kind is not tuple)}')
    by_epoch = (cfg.get('train_cfg') or {}).get('by_epoch')
    if not isinstance(by_epoch, (bool, type(None))):
        raise UserError(f'train_cfg.by_epoch is {by_epoch!r:.80}, but must be True or False')
    scope = cfg.get('default_scope') or 'mmdet'
    if scope not in MODELS.root.children and scope != 'mmengine' and find_spec(scope.partition('.')[0]) is None:
        raise UserError(f'default_scope is {scope!r:.80}, but there is no package of that name; mmdet is the one here')


def places(node: Any, place: str = '', kind: str = '') -> Iterator[tuple[str, Any, str]]:
    """(dotted key, value, type of the dict that holds it) of everything in a config."""
    if place:
        yield place, node, kind
    if isinstance(node, dict):
        own = str(node.get('type', '')).rpartition('.')[2]
        for key, value in node.items():
            yield from places(value, f'{place}.{key}'.lstrip('.'), own)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from places(value, f'{place}.{index}', '')


def _check_keys(place: str, node: dict) -> None:
    known = next((keys for pattern, keys in KEYS.items() if pattern.count('.') == place.count('.')
                  and fnmatchcase(place, pattern)), ANYWHERE.get(place.rpartition('.')[2]))
    if known is None:
        return
    for key in node:
        if key not in known and not str(key).startswith('_'):
            raise UserError(f'{place} has no key {key!r}.{nearest(str(key), known)} It takes: {", ".join(known)}')


def _check_number(place: str, value: Any, kind: str) -> None:
    name = f'{place.rpartition(".")[0]}.{kind}.{place.rpartition(".")[2]}'  # dict(type=KIND, KEY=value)
    for end, numbers in NUMBERS.items():
        if (place.endswith(f'.{end}') or place == end or name.endswith(f'.{end}')
                or '*' in end and fnmatchcase(place, f'*{end}')) and not numbers.holds(value):
            raise UserError(f'{place} is {value!r:.80}, but must be {numbers}')


def _mend_loader(cfg: Config, name: str) -> None:
    """What PyTorch refuses of a loader without workers needs no decision."""
    loader = cfg.get(name)
    if not isinstance(loader, dict) or loader.get('num_workers', 0) != 0:
        return
    for key in ('persistent_workers', 'prefetch_factor', 'timeout'):
        if loader.get(key):
            print_log(f'{name}.{key}={loader[key]} needs workers, and num_workers is 0: it is left out', 'current')
            del loader[key]


def _check_monitored(cfg: Config) -> None:
    """What checkpoints and early stopping follow must be among the metrics, which are known of CocoMetric alone."""
    hooks = cfg.get('custom_hooks') or []
    wanted = {f'custom_hooks.{i}.monitor': hook.get('monitor') for i, hook in enumerate(hooks)
              if isinstance(hook, dict) and str(hook.get('type')).endswith('EarlyStoppingHook')}
    wanted['default_hooks.checkpoint.save_best'] = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get(
        'save_best')
    evaluators = cfg.get('val_evaluator')
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    if not all(isinstance(metric, dict) and metric.get('type') == 'CocoMetric' for metric in evaluators):
        return
    names = [name for metric in evaluators for name in coco_names(metric)]
    losses = (cfg.get('val_cfg') or {}).get('loss')
    for key, value in wanted.items():
        for name in [value] if isinstance(value, str) else value or []:
            if name in ('auto', *names) or losses and str(name).startswith('val_loss'):
                continue
            if not (str(name).endswith('_precision') and any(metric.get('classwise') for metric in evaluators)):
                raise UserError(f'{key}={name!r} is no metric of val_evaluator.{nearest(str(name), names)} '
                                f'It gives: {", ".join(names)}' + (
                    '; val_cfg.loss=True adds the losses' if str(name).startswith('val_loss') else ''))


def coco_names(evaluator: dict) -> list[str]:
    """Names of the figures that a CocoMetric of this config gives."""
    metrics, prefix = evaluator.get('metric', 'bbox'), evaluator.get('prefix') or 'coco'
    limits = evaluator.get('proposal_nums') or (100, 300, 1000)
    proposals = ('proposal', 'proposal_fast')
    precisions = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    recalls = [f'AR@{limit}' for limit in limits] + [f'AR_{area}@{limits[-1]}' for area in 'sml']
    names = []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        items = evaluator.get('metric_items') or (recalls if metric in proposals else precisions)
        names += [f'{prefix}/{item}' if metric in proposals else f'{prefix}/{metric}_{item}' for item in items]
    return names
