"""Is the ground truth that of the data set?"""
import logging
import os
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from mmdet.errors import UserError


def check_evaluated_files(loop: BaseLoop, place: str) -> None:
    """Say where an evaluator's ann_file is not that of the data set; ValueError where it is that of one of several.

    `place` is the name of the evaluator in the config.
    """
    dataset: Any = loop.dataloader.dataset
    evaluator = getattr(loop, 'evaluator', None)
    metrics = getattr(evaluator, 'metrics', [])
    each = hasattr(evaluator, 'dataset_prefixes') and len(getattr(dataset, 'datasets', ())) == len(metrics)
    if each and getattr(loop.dataloader.sampler, 'shuffle', False):
        raise UserError(f'{place} evaluates several data sets one after the other: their dataloader must not shuffle')
    for i, metric in enumerate(metrics):
        own = getattr(metric, 'ann_file', None)
        files = list(dict.fromkeys(_ann_files(dataset.datasets[i] if each else dataset)))
        if not own or not files or [os.path.realpath(own)] == [os.path.realpath(file) for file in files]:
            continue
        if os.path.realpath(own) in map(os.path.realpath, files):
            raise UserError(f'{place} has the ann_file {own}, but its data sets read {files}. Evaluate each by its '
                            'own, with MultiDatasetsEvaluator, or all together: without ann_file, and with meta_keys '
                            "of PackDetInputs that have 'instances'")
        print_log(f'{place} has the ann_file {own}, but its data set reads {", ".join(files)}: the ground truth is '
                  'that of the former, for the images whose ids the latter has', 'current', logging.WARNING)


def _ann_files(dataset: Any) -> Iterator[str]:
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts[0] is not None:
        for part in parts:
            yield from _ann_files(part)
    elif getattr(dataset, 'ann_file', ''):
        yield str(dataset.ann_file)
