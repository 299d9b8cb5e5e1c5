"""How a training grows: python tools/analysis/benchmark_growth.py

One thing at a time grows. Image size, images, objects, classes, proposals, sampled RoIs: time of a step of Mask R-CNN
R-50-FPN and peak memory beyond the model's. Workers, processes, images of the data set: a whole run, on the CPU. Each
case runs in processes of its own and adds a line to OUT.jsonl. OUT.png shows the latest of each.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from growth_of_runs import images, processes, workers
from growth_plot import plot
from timed_models import Ours, training_step
from timing import machine, markdown, most_memory

from mmdet.command_line import ToolParser, plain_errors
from mmdet.engine.kept_memory import keep_freed_memory
from mmdet.errors import UserError

BASE = dict(size='320x320', batch_size=2, objects=8, classes=80, proposals=1000, rois=512)
CASES = dict(size=['160x160', '320x320', '480x480', '640x640', '800x1344'], batch_size=[1, 2, 4, 8],
             objects=[1, 10, 100, 1000], classes=[80, 365, 1203], proposals=[500, 1000, 2000], rois=[128, 256, 512],
             workers=[0, 1, 2, 4, 8], processes=[1, 2, 4, 8], images=[1000, 10000, 100000, 1000000])
RUNS = dict(workers=workers, processes=processes, images=images)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--only', nargs='*', choices=CASES, default=list(CASES), help='what to make larger')
    parser.add_argument('--values', nargs='+', help='of what --only names, in place of those built in')
    parser.add_argument('--steps', type=int, default=3, help='timed in each case, after two')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16', 'float16'],
                        help='of the steps; others than float32 are of autocast')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/growth'), help='without suffix')
    parser.add_argument('--case', nargs=2, metavar=('NAME', 'VALUE'), help=argparse.SUPPRESS)
    return parser.parse_args()


def step_of(name, value, args):
    """The median seconds of a step and the peak memory in MiB."""
    keep_freed_memory()  # as in every training
    case = {**BASE, name: value}
    classes, proposals, rois = (int(case[key]) for key in ('classes', 'proposals', 'rois'))
    model = {'roi_head.bbox_head.num_classes': classes, 'roi_head.mask_head.num_classes': classes,
             'train_cfg.rpn_proposal.max_per_img': proposals, 'train_cfg.rpn_proposal.nms_pre': 2 * proposals,
             'train_cfg.rcnn.sampler.num': rois}
    options = argparse.Namespace(device=args.device, norm=None, size=case['size'], batch_size=int(case['batch_size']),
                                 objects=int(case['objects']))
    cuda = torch.device(args.device).type == 'cuda'
    side = Ours(options, {f'model.{key}': value for key, value in model.items()})
    step = training_step(side, getattr(torch, args.dtype), 'cuda' if cuda else 'cpu')
    before = 0 if cuda else most_memory(args.device)
    seconds = []
    for i in range(-2, args.steps):
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        if i >= 0:
            seconds.append(time.perf_counter() - start)
    return {'s a step': statistics.median(seconds), 'MiB at most': most_memory(args.device) - before}


def measure(args):
    """Print a line of JSON: what grows, its value, what was measured, where."""
    name, value = args.case
    found = RUNS[name](int(value), args.steps) if name in RUNS else step_of(name, value, args)
    print(json.dumps({'what': name, 'value': value, **found, 'dtype': args.dtype, 'machine': machine()}))


def run(name, value, args):
    """The line of a case, measured in a process of its own: of the CPU alone where it is about a whole run."""
    launch = [str(Path(__file__).parents[1] / 'launch.py'), str(value)] if name == 'processes' else []
    done = subprocess.run([sys.executable, *launch, __file__, '--case', name, str(value), '--steps', str(args.steps),
                           '--dtype', args.dtype, '--device', args.device], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **(dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1') if name in RUNS
                                                else {})})
    if done.returncode:
        raise UserError(f'{name} {value} failed, see above')
    return done.stdout.splitlines()[-1]


def main():
    args = parse_args()
    if args.case:
        return measure(args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table, picture = args.out.with_suffix('.jsonl'), args.out.with_suffix('.png')
    for name in args.only:
        for value in args.values or CASES[name]:
            line = run(name, value, args)
            with open(table, 'a') as file:
                file.write(f'{line}\n')
            print(line, file=sys.stderr, flush=True)
    latest = {(line['what'], line['value']): line for line in map(json.loads, table.read_text().splitlines())}
    print(f'but for what grows: {", ".join(f"{name} {value}" for name, value in BASE.items())}')
    for name in CASES:
        lines = [line for (what, _), line in latest.items() if what == name]
        if lines:
            head = [key for key in lines[0] if key not in ('what', 'dtype', 'machine')]
            cells = [[line['value'], *(f'{line[key]:.3g}' for key in head[1:])] for line in lines]
            print(f'\n{name}, {lines[-1]["dtype"]}, {lines[-1]["machine"]}\n\n{markdown(cells, head)}')
    plot(list(latest.values()), picture)


if __name__ == '__main__':
    with plain_errors():
        main()
