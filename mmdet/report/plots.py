"""The report's plots, each an SVG text."""
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .analysis import Calibration, Errors, Thresholds

COLORS = ('#3366aa', '#dd7711', '#228866', '#bb3355', '#7755aa', '#887722', '#33aabb', '#999999')
STYLE = {'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True, 'grid.alpha': 0.25,
         'grid.linewidth': 0.6, 'font.size': 9, 'axes.titlesize': 10, 'axes.titleweight': 'bold',
         'axes.titlelocation': 'left', 'svg.fonttype': 'none', 'legend.frameon': False, 'legend.fontsize': 8,
         'lines.linewidth': 1.4}
MOST_POINTS = 600  # of a line; more cannot be seen, and make the page large


def svg(draw: Callable[[Any], object], width: float = 3.95, height: float = 2.6) -> str:
    """What `draw(axes)` draws, sizes in inches."""
    out = io.StringIO()
    save(draw, out, width, height, format='svg', metadata=dict(Date=None))
    return out.getvalue()[out.getvalue().index('<svg'):]


def save(draw: Callable[[Any], object], out: Any, width: float = 6.4, height: float = 4.8, **options: Any) -> None:
    """Write what `draw(axes)` draws, sizes in inches, to a file or a stream."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout='constrained')
        draw(figure.subplots())
        figure.savefig(out, **options)


def lines(title: str, series: Mapping[str, tuple[np.ndarray, np.ndarray]], x: str, markers: bool = False,
          percent: bool = False) -> str:
    """Named lines of x and y values."""
    def draw(axes):
        for color, (name, (xs, ys)) in zip(itertools.cycle(COLORS), series.items()):
            every = max(len(xs) // MOST_POINTS, 1)
            dotted = markers or len(xs) == 1  # a line of one point is not seen
            axes.plot(xs[::every], ys[::every], label=name, color=color, marker='o' if dotted else None, markersize=3)
        axes.set(title=title, xlabel=x)
        if percent:
            axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if len(series) > 1:
            axes.legend(ncols=1 + (len(series) > 6))
    return svg(draw)


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Means of the values and up to `width` - 1 before each."""
    sums = np.concatenate([[0], values.cumsum()])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    return (sums[last] - sums[first]) / (last - first)


def bars(title: str, values: Mapping[str, float], form: str = '{:.3f}', x: str = '') -> str:
    """A horizontal bar for each name."""
    def draw(axes):
        names = list(values)[::-1]
        shown = axes.barh(names, [values[name] for name in names], color=COLORS[0], height=0.65)
        axes.bar_label(shown, [form.format(values[name]) for name in names], padding=3, fontsize=8)
        axes.set(title=title, xlabel=x)
        axes.margins(x=0.12)
        if not any(values.values()):
            axes.set_xlim(0, 1)
        axes.grid(axis='y', visible=False)
    return svg(draw, height=max(1.1 + 0.2 * len(values), 1.8))


def precision_recall(precision: Mapping[str, np.ndarray]) -> str:
    """Curves of COCO's 101 precisions, by name."""
    recall = np.linspace(0, 1, 101)

    def draw(axes):
        for color, (name, values) in zip(itertools.cycle(COLORS), precision.items()):
            axes.plot(recall, values, label=name, color=color)
        axes.set(title='Precision by recall', xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc='lower left')
    return svg(draw)


def threshold_curves(curve: Thresholds) -> str:
    """Precision, recall and F1 by the score, the best F1 marked."""
    def draw(axes):
        for color, name in zip(COLORS, ('precision', 'recall', 'f1')):
            axes.plot(curve.score, getattr(curve, name), label=name.replace('f1', 'F1'), color=color)
        axes.axvline(curve.score[curve.best], color='black', linewidth=0.8, linestyle=':')
        axes.annotate(f'best F1 {curve.f1[curve.best]:.3f}\nat {curve.score[curve.best]:.2f}',
                      (curve.score[curve.best], 0.04), xytext=(4, 0), textcoords='offset points', fontsize=8)
        axes.set(title='By the score threshold', xlabel='least score', xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc='lower center', ncols=3, bbox_to_anchor=(0.5, -0.42))
    return svg(draw)


def calibration_plot(found: Calibration) -> str:
    """How often a detection of a score is right."""
    def draw(axes):
        some = found.number > 0
        axes.plot([0, 1], [0, 1], color='black', linewidth=0.8, linestyle=':')
        axes.plot(found.score[some], found.right[some], marker='o', markersize=4, color=COLORS[0])
        axes.set(title=f'Calibration, mean error {found.error:.3f}', xlabel='score', ylabel='share that is right',
                 xlim=(0, 1), ylim=(0, 1.02))
    return svg(draw)


def error_bars(found: Errors) -> str:
    """By how much AP50 would rise without each kind of error."""
    names = {f'{name} ({found.counts[name]})': gain for name, gain in found.gains.items()}
    return bars('What errors cost', names, '{:+.3f}', f'rise of AP50 ({found.ap50:.3f}) without them')


def confusion_plot(table: np.ndarray, classes: Sequence[str]) -> str:
    """Rows are true classes, each row as shares of its sum."""
    side = confusion_side(table)
    return svg(lambda axes: draw_confusion(axes, table, classes), side + 0.9, side)


def confusion_side(table: np.ndarray) -> float:
    """Inches that the cells and their names take."""
    return min(1.7 + 0.32 * len(table), 11)


def draw_confusion(axes: Any, table: np.ndarray, classes: Sequence[str], theme: str = 'Blues',
                   percent: bool = False) -> None:
    """A table of `confusion`; the cells' texts are counts, or whole percents of the row."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=theme, vmin=0, vmax=1)
    numbers = range(len(table))
    size = 8 if len(table) <= 25 else 4
    axes.set_xticks(numbers, [*classes, 'missed'], rotation=90, fontsize=size)
    axes.set_yticks(numbers, [*classes, 'background'], fontsize=size)
    axes.set(title='Predicted (columns) for true (rows)')
    axes.grid(visible=False)
    if len(table) <= 25:
        for i, j in zip(*np.nonzero(table)):
            text = f'{int(shares[i, j] * 100)}%' if percent else str(table[i, j])
            dark = sum(image.cmap(shares[i, j])[:3]) < 1.5
            axes.text(j, i, text, ha='center', va='center', fontsize=6.5, color='white' if dark else 'black')
    axes.figure.colorbar(image, ax=axes, shrink=0.6)
