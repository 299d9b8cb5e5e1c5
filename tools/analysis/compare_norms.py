"""Trains a config with each norm and prints a table: python tools/analysis/compare_norms.py [CONFIG] [options]

All norms have the same seed, data and images a step. SyncBN runs on several processes that share the batch. When it is
started again, the command goes on where it was interrupted and skips norms whose training has ended.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from mmdet.command_line import NORM_NAMES, ConfigFile, plain_errors
from mmdet.errors import UserError

ROOT = Path(__file__).parents[2]
FIGURES = dict(bbox_mAP='box AP', bbox_mAP_50='box AP50', segm_mAP='mask AP', segm_mAP_50='mask AP50')


def parse_args():
    parser = argparse.ArgumentParser(description='Train a config with each norm; table of AP')
    parser.add_argument('config', nargs='?', action=ConfigFile, default=str(ROOT / 'configs/demo/mask-rcnn_demo.py'))
    parser.add_argument('--norms', nargs='+', choices=NORM_NAMES, default=list(NORM_NAMES))
    parser.add_argument('--sync-processes', type=int, default=2, metavar='N', help='processes of SyncBN (%(default)s)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare_norms'),
                        help='gets a folder of each norm, and table.md (%(default)s)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every training')
    return parser.parse_args()


def command(args, norm, work_dir):
    """The training of one norm as a command line."""
    options = list(args.cfg_options)
    train = [str(ROOT / 'tools/train.py'), args.config, '--norm', norm, '--work-dir', str(work_dir), '--resume']
    if norm == 'SyncBN' and args.sync_processes > 1:
        from mmdet.engine.config import read_config
        batch_size = read_config(args.config).train_dataloader.batch_size
        if batch_size % args.sync_processes:
            raise UserError(f'--sync-processes {args.sync_processes} does not divide the batch of {batch_size} images')
        options.append(f'train_dataloader.batch_size={batch_size // args.sync_processes}')
        train = [str(ROOT / 'tools/launch.py'), str(args.sync_processes), *train, '--launcher', 'pytorch']
    return [sys.executable, *train, *(['--cfg-options', *options] if options else [])]


def scalars(work_dir):
    """What the runs in `work_dir` logged, oldest first."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def row(norm, work_dir):
    """One line of the table: AP of the last validation, median time of a step."""
    logged = scalars(work_dir)
    last = [entry for entry in logged if any(key.startswith('coco/') for key in entry)][-1]
    figures = [f'{last["coco/" + key]:.3f}' if 'coco/' + key in last else '' for key in FIGURES]
    step = statistics.median(entry['time'] for entry in logged if 'loss' in entry)
    return [norm, *figures, f'{step:.2f}']


def main():
    args = parse_args()
    lines = []
    for norm in args.norms:
        work_dir = args.work_dir / norm
        finished = work_dir / 'finished'
        if not finished.exists():
            words = command(args, norm, work_dir)
            print(f'{norm}: {" ".join(words)}', flush=True)
            work_dir.mkdir(parents=True, exist_ok=True)
            with open(work_dir / 'output.txt', 'a') as output:
                done = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT)
            if done.returncode:
                raise UserError(f'the training with {norm} failed; {work_dir / "output.txt"} says why')
            finished.touch()
        lines.append(row(norm, work_dir))
        print(' | '.join(lines[-1]), flush=True)

    from timing import markdown  # which imports torch
    text = markdown(lines, ['norm', *FIGURES.values(), 's a step'])
    (args.work_dir / 'table.md').write_text(text + '\n')
    print(f'\n{text}\n\nwritten to {args.work_dir / "table.md"}')


if __name__ == '__main__':
    with plain_errors():
        main()
