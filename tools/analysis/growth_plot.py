"""The picture of benchmark_growth.py: small panels, one for each thing that grows."""
import math
from pathlib import Path

import numpy as np

LABELS = dict(size='pixels of an image', batch_size='images of a batch', objects='objects of an image',
              workers='workers of the loader', processes='processes (2 images each)', images='images of the data set')


def number(value: str) -> int:
    """A size as its pixels."""
    return math.prod(map(int, value.split('x')))


def plot(lines: list[dict], path: Path) -> None:
    """Draw lines of the benchmark: dicts of what, value and the measured.

    The panels show the times of a step or a start and the peak memory, or pictures a second.
    """
    from matplotlib.figure import Figure
    names = list(dict.fromkeys(line['what'] for line in lines))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for name, panel in zip(names, panels, strict=False):
        cases = sorted((line for line in lines if line['what'] == name), key=lambda line: number(line['value']))
        values = np.array([number(case['value']) for case in cases])
        rate, memory = 'pictures a second' in cases[0], 'MiB at most' in cases[0]
        times = ['pictures a second'] if rate else [key for key in cases[0] if key.startswith('s ')]
        for key, color in zip(times, ('#2a7f62', '#7fb069', '#274c77'), strict=False):
            panel.plot(values, [case[key] for case in cases], 'o-', color=color, markersize=3, label=key)
        if rate and values[-1]:
            first = cases[np.flatnonzero(values)[0]]
            panel.plot(values, first['pictures a second'] / number(first['value']) * values, ':', color='grey',
                       label='in proportion')
        if memory:
            right = panel.twinx()
            right.plot(values, [case['MiB at most'] for case in cases], 's--', color='#b5523b', markersize=3)
            right.set_ylabel('MiB at most', color='#b5523b', fontsize=8)
            right.set_ylim(0)
            right.tick_params(labelsize=7)
        if values[-1] >= 100 * max(values[0], 1):
            panel.set_xscale('log')
        panel.set_xlabel(LABELS.get(name, name), fontsize=8)
        if len(times) > 1:
            panel.set_yscale('log')
        else:
            panel.set_ylim(0)
        panel.tick_params(labelsize=7)
        panel.legend(fontsize=7, frameon=False, loc='lower right' if memory else 'upper left')
    for panel in list(panels):
        panel.remove()
    figure.savefig(path, dpi=130)
