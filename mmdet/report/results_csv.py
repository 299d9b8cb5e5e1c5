"""A table of a training: a line an epoch, or a validation where iterations are counted."""
import csv
from pathlib import Path

import numpy as np

from .run import Run

NAME = 'results.csv'


def write_results(run: Run) -> Path:
    """Write results.csv into the work dir: means of what was logged while training, and the validation after it."""
    by_epoch = all('epoch' in line for line in run.steps)
    validated = {line['step']: line for line in run.validations}
    parts: dict[int, list[dict]] = {}
    for line in run.steps:
        end = line['epoch'] if by_epoch else min((step for step in validated if step >= line['step']),
                                                 default=run.steps[-1]['step'])
        parts.setdefault(end, []).append(line)
    trained = list(dict.fromkeys(key for line in run.steps for key in line
                                 if key not in ('step', 'epoch', 'iter', 'eta', 'memory')))
    figures = run.metrics
    path = run.folder / NAME
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['epoch' if by_epoch else 'iteration', *(f'train/{key}' for key in trained), *figures])
        for end in sorted({*parts, *validated}):
            means = [_mean([line[key] for line in parts.get(end, ()) if key in line]) for key in trained]
            table.writerow([end, *means, *(validated.get(end, {}).get(key, '') for key in figures)])
    return path


def _mean(values: list[float]) -> str:
    return f'{np.mean(values):.6g}' if values else ''
