"""What the report says: its sections, from runs and from what a validation found."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import plots
from .analysis import calibration, confusion, errors, ranked_pictures, thresholds
from .evaluated import AREAS, Evaluated
from .figure_name import figure_name
from .matching import match
from .pictures import side_by_side
from .run import Run, differences

MOST_PICTURES = 6  # of the best, and of the worst
MOST_CLASSES = 100  # of a confusion matrix that can be read


@dataclass
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: bool = False


@dataclass
class Section:
    title: str
    texts: list[str] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[dict] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.title.lower().replace(' ', '-')


def training(run: Run) -> Section:
    """Losses, learning rate, time and memory over the steps, and what validations gave."""
    width = max(len(run.steps) // 60, 1)
    losses = {name: _smooth(run.series(name), width) for name in run.keys}
    drawn = [plots.lines('Loss', {'loss': _smooth(run.series('loss'), width)}, 'iteration'),
             plots.lines('Parts of the loss', losses, 'iteration')]
    held_out = {name.removeprefix('val_'): run.series(name, 'validations') for name in run.metrics if _is_loss(name)}
    if held_out:
        drawn.append(plots.lines('Loss of the validations', held_out, 'validation after', markers=True))
    drawn += validations([run])
    for name, title in (('lr', 'Learning rate'), ('grad_norm', 'Norm of the gradient'), ('time', 'Seconds a step'),
                        ('memory', 'Memory, MB')):
        if len(run.series(name)[0]):
            drawn.append(plots.lines(title, {name: run.series(name)}, 'iteration'))
    return Section('Training', plots=drawn)


def validations(runs: Sequence[Run]) -> list[str]:
    """A plot of each kind of AP over the validations; of several runs one line each of the mean AP."""
    if len(runs) > 1:
        means = dict.fromkeys(key for run in runs for key in run.metrics if figure_name(key).item == 'AP')
        return [plots.lines(_title(figure_name(key).text), {run.name: run.series(key, 'validations') for run in runs},
                            'validation after', True) for key in means]
    run, drawn = runs[0], list[str]()
    groups: dict[str, dict[str, str]] = {}
    for key in run.metrics:
        if not _is_loss(key):
            name = figure_name(key)
            groups.setdefault(name.group, {})[name.item] = key
    for group, of_group in groups.items():
        series = {item: run.series(key, 'validations') for item, key in list(of_group.items())[:8]}
        # COCO's -1: there are no such objects.
        series = {name: (steps, values) for name, (steps, values) in series.items() if (values >= 0).any()}
        drawn.append(plots.lines(_title(group), series, 'validation after', markers=True))
    return drawn


def by_class(evaluated: Evaluated) -> Section:
    """AP and AR of each class and size."""
    section = Section('Classes and sizes', ['AP and AR as COCO counts them. A dash: there are no such objects.'])
    for kind, precision in evaluated.precision.items():
        recall = evaluated.recall[kind]
        real = evaluated.gt_label[~evaluated.gt_crowd]
        head = ['boxes' if kind == 'bbox' else 'masks', 'objects', 'AP', 'AP50', 'AP75',
                *(f'AP {area}' for area in AREAS[1:]), 'AR']
        rows = []
        number = len(evaluated.classes)
        for name, chosen in (('all classes', np.arange(number)), *zip(evaluated.classes, np.arange(number)[:, None])):
            part, of_class = precision[:, :, chosen], recall[:, chosen]
            values = [part[..., 0], part[0, ..., 0], part[5, ..., 0], *(part[..., a] for a in (1, 2, 3)),
                      of_class[..., 0]]
            rows.append([name, str(int(np.isin(real, chosen).sum())), *(_mean(value) for value in values)])
        section.tables.append(Table(head, rows))
    if 1 < len(evaluated.classes) and 'bbox' in evaluated.precision:
        each = {name: _number(evaluated.precision['bbox'][:, :, k, 0]) for k, name in enumerate(evaluated.classes)}
        known = sorted(((value, name) for name, value in each.items() if value is not None), reverse=True)
        shown = known if len(known) <= 24 else known[:12] + known[-12:]
        section.plots.append(plots.bars('Box AP' if len(known) <= 24 else 'Box AP, the 12 best and worst',
                                        {name: value for value, name in shown}))
    return section


def average_precisions(evaluated: Evaluated) -> list[tuple[str, str]]:
    """Names and values of AP and AP50."""
    return [(f'{"box" if kind == "bbox" else "mask"} {name}', _mean(values)) for kind, precision in
            evaluated.precision.items() for name, values in (('AP', precision[..., 0]), ('AP50', precision[0, ..., 0]))]


def detections(evaluated: Evaluated) -> tuple[list[Section], float]:
    """What the detections show beyond AP, and the score threshold that gives the best F1."""
    matches = match(evaluated)
    curve = thresholds(evaluated, matches)
    best = float(curve.score[curve.best])
    section = Section('Detections', [
        f'Boxes at IoU 0.5. The threshold that gives the best F1 is {best:.2f}: precision '
        f'{curve.precision[curve.best]:.3f}, recall {curve.recall[curve.best]:.3f}, F1 {curve.f1[curve.best]:.3f}.'])
    if 'bbox' in evaluated.precision:
        all_areas = evaluated.precision['bbox'][..., 0]
        section.plots.append(plots.precision_recall({
            name: _over_classes(values) for name, values in (
                ('IoU 0.5', all_areas[0]), ('IoU 0.75', all_areas[5]),
                ('mean of IoU 0.5 to 0.95', all_areas.mean(axis=0)))}))
    section.plots += [plots.threshold_curves(curve), plots.error_bars(errors(evaluated, matches)),
                      plots.calibration_plot(calibration(evaluated, matches))]
    if len(evaluated.classes) <= MOST_CLASSES:
        section.plots.append(plots.confusion_plot(confusion(evaluated, best), evaluated.classes))
    if 1 < len(evaluated.classes):
        rows = []
        for k, name in enumerate(evaluated.classes):
            own = thresholds(evaluated, matches, k)
            rows.append([name, *(f'{values[own.best]:.{digits}f}' for values, digits in (
                (own.score, 2), (own.f1, 3), (own.precision, 3), (own.recall, 3)))])
        section.tables.append(Table(['best F1 of each class', 'at score', 'F1', 'precision', 'recall'], rows))
    ranked = ranked_pictures(evaluated, matches, best)
    lost = ''
    shown = Section('Pictures', [f'Truth on the left, on the right what scores at least {best:.2f}.'])
    for word, chosen in (('best', ranked[:MOST_PICTURES]), ('worst', ranked[MOST_PICTURES:][::-1][:MOST_PICTURES])):
        for picture in chosen:
            url = side_by_side(evaluated, picture.image, best)
            if url is not None:
                shown.pictures.append(dict(url=url, caption=(
                    f'{word}: {Path(evaluated.paths[picture.image]).name}, {picture.right} right, {picture.wrong} '
                    f'wrong, {picture.missed} missed')))
            elif evaluated.paths[picture.image]:
                lost = evaluated.paths[picture.image]
    if lost:
        shown.texts.append(f'Not found: {lost} and others. Relative paths begin where the training was started.')
    return [section] + [shown] * bool(shown.pictures or lost), best


def config(run: Run, source: str) -> Section:
    """The user's own part of the config, and the environment."""
    section = Section('Config and environment', tables=[Table(
        ['', ''], [[name, value] for name, value in run.environment.items()], left=True)])
    if source:
        section.texts.append('What this config adds to its base:')
        section.code.append(source)
    return section


def comparison(runs: Sequence[Run]) -> Section:
    """Last figures of several runs, their curves, and where their configs differ."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = [[figure_name(name).text, *(_last(run, name) for run in runs)] for name in names]
    rows.append(['median seconds a step', *(_median(run.series('time')[1]) for run in runs)])
    section = Section('Comparison', plots=[plots.lines('Loss', {run.name: _smooth(run.series('loss'), max(
        len(run.steps) // 60, 1)) for run in runs}, 'iteration'), *validations(runs)],
        tables=[Table(['last validation', *(run.name for run in runs)], rows)])
    first = runs[0]
    for other in runs[1:]:
        changed = [[key, _short(a), _short(b)] for key, a, b in differences(first.config, other.config)
                   if key not in ('work_dir', 'resume', 'load_from', 'launcher')]
        section.tables.append(Table(['config', first.name, other.name], changed, left=True))
    return section


def _is_loss(key: str) -> bool:
    return key.startswith('val_loss')


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _last(run: Run, name: str) -> str:
    values = run.series(name, 'validations')[1]
    if not len(values):
        return ''
    return '-' if values[-1] == -1 else f'{values[-1]:.3f}'  # -1: the data have no such objects


def _median(values: np.ndarray) -> str:
    return f'{np.median(values):.3f}' if len(values) else ''


def _smooth(series: tuple[np.ndarray, np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    steps, values = series
    return steps, plots.smoothed(values, width)


def _over_classes(precision: np.ndarray) -> np.ndarray:
    """(101, K) -> (101,), the mean of the classes that have objects."""
    known = precision[:, precision[0] > -1]
    return known.mean(axis=1) if known.size else np.zeros(len(precision))


def _number(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _mean(values: np.ndarray) -> str:
    value = _number(values)
    return '-' if value is None else f'{value:.3f}'


def _short(value: object) -> str:
    return repr(value) if value != '' else ''
