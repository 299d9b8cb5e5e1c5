"""Several trainings as the lines of one table."""
import json
import statistics
import subprocess
import sys
from pathlib import Path

from mmdet.errors import UserError

ROOT = Path(__file__).parents[2]
FIGURES = {'bbox_mAP': 'box AP', 'bbox_mAP_50': 'box AP50', 'segm_mAP': 'mask AP', 'segm_mAP_50': 'mask AP50',
           'AR@100': 'AR@100', 'AR@1000': 'AR@1000'}


def add_options(parser, work_dir):
    parser.add_argument('--work-dir', type=Path, default=Path(work_dir),
                        help='gets a folder of each training, and table.md')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override keys of the config, for every training')


def command(config, work_dir, options, before=(), after=()):
    """A training as a command line, which goes on where it was interrupted."""
    words = [*before, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(work_dir), '--resume', *after]
    return [sys.executable, *words, *(['--cfg-options', *options] if options else [])]


def compare(trainings, work_dir, what):
    """Run the trainings, dict of name and command line, that have not ended yet, and write the table of all.

    The work dir of each is its name in `work_dir`.
    """
    lines = []
    for name, words in trainings.items():
        folder = work_dir / name
        if not (folder / 'finished').exists():
            print(f'{name}: {" ".join(words)}\n    tells how far it is in {folder / "output.txt"}', flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / 'output.txt', 'a') as output:
                done = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT)
            if done.returncode:
                raise UserError(f'the training {name} failed; {folder / "output.txt"} says why')
            (folder / 'finished').touch()
        lines.append(row(name, folder))
        print(' | '.join(lines[-1]), flush=True)
    from timing import markdown  # which imports torch
    head = [what, *FIGURES.values(), 's a step']
    kept = [i for i in range(len(head)) if any(line[i] for line in lines)]
    text = markdown([[line[i] for i in kept] for line in lines], [head[i] for i in kept])
    (work_dir / 'table.md').write_text(text + '\n')
    print(f'\n{text}\n\nwritten to {work_dir / "table.md"}')


def scalars(work_dir):
    """What the runs in `work_dir` logged, oldest first."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def row(name, work_dir):
    """One line of the table: figures of the last validation, median time of a step."""
    logged = scalars(work_dir)
    last = [entry for entry in logged if any(key.startswith('coco/') for key in entry)][-1]
    figures = [f'{last["coco/" + key]:.3f}' if 'coco/' + key in last else '' for key in FIGURES]
    step = statistics.median(entry['time'] for entry in logged if 'loss' in entry)
    return [name, *figures, f'{step:.2f}']
