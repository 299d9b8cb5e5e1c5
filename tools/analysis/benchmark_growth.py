"""How a training step grows: python tools/analysis/benchmark_growth.py

Measures the time of a step of Mask R-CNN R-50-FPN and its peak memory beyond the model's. One thing at a time grows:
image size, images, objects, classes, proposals, sampled RoIs. Each case runs in a process of its own.
"""
import argparse
import statistics
import subprocess
import sys
import time

import torch
from benchmark_model import most_memory
from timed_models import Ours, training_step
from timing import machine, markdown

from mmdet.command_line import plain_errors
from mmdet.engine.kept_memory import keep_freed_memory
from mmdet.errors import UserError

BASE = dict(size='320x320', batch_size=2, objects=8, classes=80, proposals=1000, rois=512)
CASES = dict(size=['160x160', '320x320', '480x480', '640x640', '800x1344'], batch_size=[1, 2, 4, 8],
             objects=[1, 10, 100, 1000], classes=[80, 365, 1203], proposals=[500, 1000, 2000], rois=[128, 256, 512])


def parse_args():
    parser = argparse.ArgumentParser(description='Time and memory of a training step as it grows')
    parser.add_argument('--only', nargs='+', choices=CASES, default=list(CASES), help='what to make larger')
    parser.add_argument('--steps', type=int, default=3, help='timed in each case (%(default)s), after two')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16', 'float16'])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--case', nargs=2, metavar=('NAME', 'VALUE'), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(args):
    """Print the median seconds of a step and the peak memory in MiB."""
    name, value = args.case
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
    print(statistics.median(seconds), most_memory(args.device) - before)


def main():
    args = parse_args()
    if args.case:
        return measure(args)
    print(f'{machine()}, {args.dtype}\n{", ".join(f"{name} {value}" for name, value in BASE.items())} but for:\n')
    lines = []
    for name in args.only:
        for value in CASES[name]:
            done = subprocess.run([sys.executable, __file__, '--case', name, str(value), '--steps', str(args.steps),
                                   '--dtype', args.dtype, '--device', args.device], stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise UserError(f'{name} {value} failed, see above')
            seconds, peak = map(float, done.stdout.split()[-2:])
            lines.append([name, str(value), f'{seconds:.2f}', f'{peak:.0f}'])
            print(' '.join(lines[-1]), file=sys.stderr, flush=True)
    print(markdown(lines, ['what', 'value', 's a step', 'peak, MiB']))


if __name__ == '__main__':
    with plain_errors():
        main()
