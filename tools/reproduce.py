"""Reproduces a published result: python tools/reproduce.py NAME [--run]

Prints the command of a row of docs/published.md with the AP to expect. --run runs it, compares at the end, and exits
with status 1 if a figure is outside its tolerance. Without NAME it lists the names; WORD* lists those that match.
"""
import csv
import json
import os
import shlex
import subprocess
import sys
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import MissingFileError, UserError

ROOT = Path(__file__).parents[1]
GPUS = dict(here=1, CBN=4, mmdetection=8)  # of the published trainings
SOURCES = dict(
    here='Measured here, on generated shapes', CBN='The norms of the CBN paper, in FPN and heads',
    Detectron="Detectron's files", torchvision="torchvision's checkpoints", mmdetection="mmdetection 3.3's model zoo")
H100_HOURS = dict(r50=0.22, r101=0.3)  # of one epoch of COCO: 7,329 steps of 16 images, 0.108 s each with R-50
# Points of box AP and mask AP. Tests differ by rounding; trainings by their seeds, two releases of one recipe too.
TOLERANCE = dict(test=(0.1, 0.1), train=(0.3, 0.5), demo=(2, 2))


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('name', nargs='?', default='*', help='row of docs/published.md, or a pattern (default: all)')
    parser.add_argument('--table', action='store_true', help='print the tables of docs/published.md')
    parser.add_argument('--run', action='store_true', help='run the command and compare')
    parser.add_argument('--train', action='store_true', help='train, also where a checkpoint could be tested')
    parser.add_argument('--checkpoint', help='test this file instead of the published URL')
    parser.add_argument('--configs', type=Path, default=ROOT / 'configs',
                        help="folder of configs that this repository lacks: mmdetection's")
    parser.add_argument('--gpus', type=int, help='for a training; the default is as many as the published one had')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/reproduce/NAME')
    return parser.parse_args()


def read_rows():
    """The published results, dict of name and row."""
    with open(Path(__file__).with_name('published.csv'), newline='') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def tables(rows):
    """The published results as Markdown, a table a source."""
    lines = []
    for source, title in SOURCES.items():
        lines += ['', f'### {title}', '', '| name | box AP | mask AP | GB a GPU | ms an image | H100 hours |',
                  '|---|---|---|---|---|---|']
        for row in rows.values():
            if row['source'] == source:
                name = f'[{row["name"]}]({row["checkpoint"]})' if '//d' in row['checkpoint'] else row['name']
                box = row['box'] + row['data'].removeprefix('COCO').removeprefix('demo')
                lines.append(f'| {name} | {box} | {row["mask"]} | {row["memory"]} | {row["ms"]} | {hours(row)} |')
    return '\n'.join(lines[1:])


def hours(row):
    """What its training takes on one H100, where the network's step was measured."""
    family, name = row['name'].split('/')
    if family not in ('cbn', 'faster_rcnn', 'mask_rcnn', 'gn') or not row['epochs']:
        return ''
    depth = name.replace('-', '_').split('_fpn')[0].split('_')
    return next((f'{float(row["epochs"]) * H100_HOURS[key]:.1f}' for key in H100_HOURS if key in depth), '')


def find(rows, name):
    """The row of a full name, or of the part behind the slash where only one has it."""
    fitting = [row for key, row in rows.items() if name in (key, key.split('/')[1])]
    if len(fitting) == 1:
        return fitting[0]
    near = [row['name'] for row in fitting] or get_close_matches(name, [*rows, *(key.split('/')[1] for key in rows)], 3)
    raise UserError(f'no published result is called {name}' + f'; did you mean {" or ".join(near)}?' * bool(near)
                    if not fitting else f'{name} has several rows: {", ".join(near)}')


def command(row, args):
    """(words, 'test', 'train' or 'demo'): what reproduces the row."""
    config = ROOT / 'configs' / row['config']
    config = config if config.exists() else args.configs / row['config']
    if args.run and not config.exists():
        raise MissingFileError(f'{config} does not exist: name the folder of mmdetection\'s configs with --configs')
    config = os.path.relpath(config)
    work_dir = ['--work-dir', str(args.work_dir or Path('work_dirs/reproduce') / row['name'])]
    source, checkpoint = row['source'], args.checkpoint or row['checkpoint']
    if source == 'Detectron' and args.train:
        raise UserError(f'{row["name"]}: its config tests published files; train with a config of gn or mask_rcnn')
    if source == 'Detectron' and not checkpoint:
        raise UserError(f'{row["name"]}: name the file with --checkpoint; Detectron\'s MODEL_ZOO.md links it')
    if checkpoint and not args.train:
        return [sys.executable, os.path.relpath(ROOT / 'tools/test.py'), config, checkpoint, *work_dir], 'test'
    if source not in GPUS:
        raise UserError(f'{row["name"]}: {source} published a checkpoint, and no recipe for it is here')
    gpus = args.gpus or GPUS[source]
    options = [*(['--norm', row['norm']] if row['norm'] else []),
               *(['--auto-scale-lr'] if gpus != GPUS[source] else []), *work_dir]
    if gpus == 1:
        words = [sys.executable, os.path.relpath(ROOT / 'tools/train.py'), config, *options]
    else:
        words = [os.path.relpath(ROOT / 'tools/dist_train.sh'), config, str(gpus), *options]
    return words, 'demo' if source == 'here' else 'train'


def expected(row, kind):
    """Key of the log -> (published figure, tolerance), in points."""
    box, mask = TOLERANCE[kind]
    keys = ['coco/bbox_mAP', 'coco/segm_mAP']
    if 'LVIS' in row['data']:
        keys = ['lvis/bbox_AP', 'lvis/segm_AP']
    elif 'AR@1000' in row['data']:
        keys = ['coco/AR@1000', '']
    parts = zip(keys, (row['box'], row['mask']), (box, mask), strict=True)
    return {key: (float(value), tolerance) for key, value, tolerance in parts if value}


def measured(work_dir):
    """The figures of the last evaluation in `work_dir`."""
    files = sorted([*work_dir.glob('*/*.json'), *work_dir.glob('*/vis_data/scalars.json')], key=os.path.getmtime)
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.startswith('{')]
    entries = [entry for entry in entries if any(key.startswith(('coco/', 'lvis/')) for key in entry)]
    if not entries:
        raise UserError(f'{work_dir} holds no figures of an evaluation')
    return entries[-1]


def compare(figures, targets):
    """Print each figure beside the published one; are all within their tolerances?"""
    good = True
    for key, (value, tolerance) in targets.items():
        found = 100 * figures[key]
        near = abs(found - value) <= tolerance + 1e-6
        good &= near
        print(f'{key}: {found:.1f}, published {value:.1f} +- {tolerance}: {"as published" if near else "DIFFERS"}')
    return good


def main():
    args = parse_args()
    rows = read_rows()
    if args.table:
        print(tables(rows))
        return
    if any(sign in args.name for sign in '*?['):
        names = [name for name in rows if fnmatch(name, args.name)]
        print('\n'.join(names) or f'no name matches {args.name}')
        return
    row = find(rows, args.name)
    words, kind = command(row, args)
    targets = expected(row, kind)
    print(shlex.join(words))
    print('expected: ' + ', '.join(f'{key} {value:.1f} +- {tolerance}' for key, (value, tolerance) in targets.items()),
          flush=True)
    if args.run:
        done = subprocess.run(words)
        if done.returncode:
            raise UserError(f'the command ended with status {done.returncode}')
        if not compare(measured(Path(words[words.index('--work-dir') + 1])), targets):
            sys.exit(1)


if __name__ == '__main__':
    with plain_errors():
        main()
