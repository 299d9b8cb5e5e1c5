"""Runs all benchmarks, one after the other: python tools/benchmark.py [--only model ops] [--short]

Writes their tables to OUT/benchmark.md, and a picture of the ratios to torchvision or PyTorch (left of 1: faster)
to OUT/benchmark.png. Each is a script of its own in tools/analysis, with options of its own.
"""
import subprocess
import sys
from pathlib import Path

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import UserError

ANALYSIS = Path(__file__).parent / 'analysis'
SHORT = dict(  # two minutes in all, to see that it runs
    model=['--size', '64x64', '--repeats', '1', '--dtype', 'float32'],
    ops=['--boxes', '100', '--repeats', '1', '--dtype', 'float32', '--convs', '2x16x32x32'],
    norms=['--shapes', '2x32x7x7', '--repeats', '1'],
    masks=['--masks', '10', '--size', '200', '300', '--repeats', '1'],
    data=['--count', '4', '--repeats', '1'],
    evaluation=['--images', '20', '--repeats', '1'])
FULL = dict(model=['--memory'])


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--only', nargs='+', choices=SHORT, default=list(SHORT), help='benchmarks to run')
    parser.add_argument('--short', action='store_true', help='few repeats of small sizes: figures without meaning')
    parser.add_argument('--mmdetection', metavar='PYTHON', help='interpreter of an environment with mmdetection: its '
                        'model is timed, too')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')
    return parser.parse_args()


def cells(line):
    return [cell.strip() for cell in line.strip().strip('|').split('|')]


def ratios(text):
    """(title, ratio) of each row of the tables that puts mmdet beside another."""
    rows = [cells(line) for line in text.splitlines() if line.startswith('|')]
    return [(row[0], float(row[-1])) for row in rows if len(row) == 5 and row[1] == 'mmdet']


def plot(found, path):
    """Horizontal bars of the ratios, with a line at 1."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 0.28 * len(found) + 1), layout='constrained')
    axes = figure.subplots()
    titles, values = zip(*found[::-1], strict=True)
    bars = axes.barh(titles, values, color=['#2a7f62' if value <= 1 else '#b5523b' for value in values])
    axes.bar_label(bars, fmt='%.2f', padding=3, fontsize=8)
    axes.axvline(1, color='black', linewidth=0.8)
    axes.set_xlabel('time, torchvision or PyTorch = 1')
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(axis='y', labelsize=8)
    axes.set_xlim(0, max(1.1, 1.1 * max(values)))
    figure.savefig(path, dpi=150)


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in args.only:
        options = SHORT[name] if args.short else FULL.get(name, [])
        if name == 'model' and args.mmdetection:
            options = [*options, '--mmdetection', args.mmdetection]
        print(f'{name} ...', flush=True)
        done = subprocess.run([sys.executable, str(ANALYSIS / f'benchmark_{name}.py'), *options],
                              stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise UserError(f'benchmark_{name}.py failed, see above')
        sections.append(f'## {name}\n\n{done.stdout.strip()}\n')
        print(done.stdout)
    text = '\n'.join(sections)
    (args.out / 'benchmark.md').write_text(text)
    found = ratios(text)
    if found:
        plot(found, args.out / 'benchmark.png')
    print(f'written to {args.out}')


if __name__ == '__main__':
    with plain_errors():
        main()
