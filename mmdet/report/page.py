"""The report as one HTML file that needs no other."""
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

from . import sections as parts
from .evaluated import Evaluated
from .figure_name import figure_name
from .run import Run

NAME = 'report.html'
FIRST_SEEN = ('AP', 'AP50', 'at 100', 'at 1000', 'val_loss')  # of each kind of figure


def write_report(out: Path, runs: Sequence[Run] = (), evaluated: Evaluated | None = None, title: str = '',
                 source: str = '') -> Path:
    """Write the report of a run, of several beside each other, or of detections alone.

    Args:
        out: an .html file, or a folder that gets report.html.
        evaluated: detections and truth; by default those of the first run's last validation.
        source: text of the user's own config file.

    Returns:
        The file.
    """
    out = out if out.suffix == '.html' else out / NAME
    first = runs[0] if runs else None
    evaluated = evaluated or (first.evaluated if first else None)
    sections = []
    figures: list[tuple[str, str]] = []
    if first and len(runs) > 1:
        sections.append(parts.comparison(runs))
    if first:
        sections.append(parts.training(first))
        figures = last_figures(first)
    if evaluated is not None:
        shown, best = parts.detections(evaluated)
        sections += [parts.by_class(evaluated), *shown]
        figures = figures or parts.average_precisions(evaluated)
        figures.append(('threshold of the best F1', f'{best:.2f}'))
    if first:
        sections.append(parts.config(first, source))
    page = Environment(autoescape=True, trim_blocks=True).from_string(
        Path(__file__).with_name('page.html').read_text(encoding='utf-8'))
    text = page.render(title=title or (first.name if first else 'Detections'), subtitle=_subtitle(first, evaluated),
                       figures=figures, sections=sections)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f'.{out.name}.part')
    unfinished.write_text(text, encoding='utf-8')
    unfinished.replace(out)
    return out


def last_figures(run: Run) -> list[tuple[str, str]]:
    """Names and values of the last validation that are worth to be seen first."""
    last = run.validations[-1] if run.validations else {}
    names = {key: figure_name(key) for key, value in last.items() if isinstance(value, float)}
    return [(name.text, f'{last[key]:.3f}') for key, name in names.items() if name.item in FIRST_SEEN]


def _subtitle(run: Run | None, evaluated: Evaluated | None) -> str:
    told = []
    if run and run.steps:
        last = run.steps[-1]
        told.append(f'iteration {last["step"]}' + f', epoch {last["epoch"]}' * ('epoch' in last))
    if evaluated is not None:
        told.append(f'{len(evaluated.paths)} images with {int((~evaluated.gt_crowd).sum())} objects of '
                    f'{len(evaluated.classes)} classes, {len(evaluated.score)} detections')
    return '; '.join(told)
