"""A training's JSON log as mmdetection's analyze_logs.py groups it."""
import json
from pathlib import Path

import numpy as np

from mmdet.errors import MissingFileError, UserError


def read_log(path: str | Path) -> dict[int, list[dict]]:
    """The lines of each epoch of a log, or of the newest log of a work dir.

    As in mmdetection a line is of the epoch that the line before it names: the first line of an epoch counts to the
    epoch before, and the first epoch begins with the first line of all.
    """
    path = Path(path)
    if path.is_dir():
        logs = sorted(path.glob('*/vis_data/scalars.json'))
        if not logs:
            raise MissingFileError(f'{path} holds no TIMESTAMP/vis_data/scalars.json: name the work dir of a training')
        path = logs[-1]
    epochs: dict[int, list[dict]] = {}
    epoch = 1
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(f'it is a {type(entry).__name__}')
        except ValueError as error:
            raise UserError(f'line {number} of {path} is no JSON of a training ({error}): name its '
                            'vis_data/scalars.json') from None
        if len(entry) > 1:
            epochs.setdefault(epoch, []).append(entry)
            epoch = entry.get('epoch', epoch)
    if not epochs:
        raise UserError(f'{path} holds no lines of a training')
    return epochs


def is_validation(line: dict) -> bool:
    return any('/' in key for key in line)


def seconds_an_iteration(epochs: dict[int, list[dict]], include_outliers: bool) -> dict[int, float]:
    """The mean of each epoch; without its first line, which may wait for the data, unless outliers are included."""
    times = {epoch: [line['time'] for line in lines if 'time' in line and not is_validation(line)]
             for epoch, lines in epochs.items()}
    chosen = {epoch: values if include_outliers else values[1:] for epoch, values in times.items()}
    return {epoch: float(np.mean(values)) for epoch, values in chosen.items() if values}


def curve(epochs: dict[int, list[dict]], key: str, start_epoch: int = 1) -> tuple[list[int], list[float]]:
    """Steps and values of a figure, a validation's also without its prefix (bbox_mAP of coco/bbox_mAP)."""
    points = [(line['step'], value) for epoch, lines in epochs.items() if epoch >= start_epoch for line in lines
              for name, value in line.items() if key in (name, name.rpartition('/')[2]) and 'step' in line]
    return [step for step, _ in points], [value for _, value in points]
