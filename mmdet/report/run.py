"""What a work dir tells of its training: losses, validations, config, environment."""
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmdet.errors import MissingFileError
from mmdet.literals import literal_config

from .evaluated import Evaluated

EVALUATED = 'last_validation.npz'  # in the work dir
NO_FIGURES = {'step', 'epoch', 'iter', 'time', 'data_time', 'memory', 'eta', 'lr', 'loss', 'grad_norm'}


@dataclass(frozen=True)
class Run:
    """The runs in a work dir as one: where a training was resumed, the later run's lines count from there on."""
    folder: Path

    @classmethod
    def open(cls, folder: Path) -> 'Run':
        """MissingFileError where no training has written there."""
        if not folder.is_dir():
            raise MissingFileError(f'{folder} is no folder: name the work dir of a training')
        run = cls(folder)
        if not run.steps and not run.validations:
            raise MissingFileError(f'{folder} holds no log of a training (TIMESTAMP/vis_data/scalars.json): name its '
                                   'work dir')
        return run

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def _lines(self) -> tuple[list[dict], list[dict]]:
        """Training's and validations' lines of scalars.json, each by rising step."""
        steps: dict[int, dict] = {}
        validations: dict[int, dict] = {}
        for file in sorted(self.folder.glob('*/vis_data/scalars.json')):
            lines = list(_json_lines(file))
            first = min((line['step'] for line in lines if 'loss' in line), default=None)
            if first is not None:
                steps = {step: line for step, line in steps.items() if step < first}
            for line in lines:
                (steps if 'loss' in line else validations)[line['step']] = line
        return tuple([found[step] for step in sorted(found)] for found in (steps, validations))  # type: ignore

    @property
    def steps(self) -> list[dict]:
        """Lines of training: step, loss, its parts, lr, time, memory ..."""
        return self._lines[0]

    @property
    def validations(self) -> list[dict]:
        """Lines of validations: step (an epoch, or an iteration where there are no epochs) and figures."""
        return self._lines[1]

    def series(self, key: str, of: str = 'steps') -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of a figure, where it was logged; of `steps` or of `validations`."""
        lines = [line for line in getattr(self, of) if isinstance(line.get(key), (int, float))]
        return np.array([line['step'] for line in lines]), np.array([line[key] for line in lines], np.float64)

    @property
    def keys(self) -> list[str]:
        """Names of the parts of the loss."""
        names = dict.fromkeys(key for line in self.steps for key in line if re.search('loss', key))
        return [name for name in names if name != 'loss']

    @property
    def metrics(self) -> list[str]:
        """Names of the figures that validations gave."""
        return list(dict.fromkeys(key for line in self.validations for key in line if key not in NO_FIGURES))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dotted keys of the config that the training wrote into its work dir; empty where it is not there."""
        files = sorted(self.folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
        if not files:
            return {}
        return flat(literal_config(files[-1].read_text(encoding='utf-8')))

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the newest log says that the training stands on."""
        for log in sorted(self.folder.glob('*/*.log'), reverse=True):
            with open(log, errors='replace') as file:
                block = re.search(r'- Environment\n((?:    .*\n)+)', file.read(10000))
            if block:
                return dict(re.findall(r'    (\w+) +(.*)', block[1]))
        return {}

    @cached_property
    def evaluated(self) -> Evaluated | None:
        """What the last validation found."""
        path = self.folder / EVALUATED
        return Evaluated.load(path) if path.exists() else None


def _json_lines(file: Path) -> Iterator[dict]:
    for line in file.read_text(errors='replace').splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # of a run that was killed
            continue
        if isinstance(entry, dict) and isinstance(entry.get('step'), int):
            yield entry


def flat(node: Any, name: str = '') -> dict[str, Any]:
    """The values of a config by their dotted keys; lists of plain values are values."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) and any(
        isinstance(value, dict) for value in node) else None
    if inner is None:
        return {name: node}
    return {key: value for k, part in inner for key, value in flat(part, f'{name}.{k}' if name else str(k)).items()}


def differences(first: dict, second: dict) -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both; '' stands for a key that is not there."""
    return [(key, first.get(key, ''), second.get(key, '')) for key in dict.fromkeys([*first, *second])
            if first.get(key, '') != second.get(key, '')]
