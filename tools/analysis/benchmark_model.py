"""Times Mask R-CNN R-50-FPN beside torchvision's, in turns: python tools/analysis/benchmark_model.py

A training step goes from images and targets on the device to updated weights, inference from images to 100 detections
an image with masks. Weights are random, batch norms frozen, and each image has 8 objects at random places. Ratios are
to torchvision in the same precision.

--mmdetection adds mmdetection's model. Its package has the name of ours, so it runs in a process of its own.
--memory also measures the peak memory of each training, in a process of its own.
--compile compares our model with and without torch.compile.
"""
import argparse
import gc
import os
import subprocess
import sys

import torch
from other_process import OtherProcess
from timed_models import Compiled, Ours, Torchvision, inference, training_step
from timing import alternate, machine, markdown, most_memory, rows

from mmdet.command_line import ToolParser, plain_errors
from mmdet.engine.norm_option import NORMS
from mmdet.errors import UserError

SIDES = dict(mmdet=Ours, torchvision=Torchvision, compiled=Compiled)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('what', nargs='*', default=['train', 'inference'],
                        help='train, inference or both')
    parser.add_argument('--size', default='320x320', metavar='HxW', help='of the images in pixels')
    parser.add_argument('--batch-size', type=int, default=2, help='images a step')
    parser.add_argument('--objects', type=int, default=8, help='of each image')
    parser.add_argument('--dtype', nargs='+', default=['float32', 'bfloat16'],
                        choices=['float32', 'bfloat16', 'float16'], help='others than float32 are of autocast')
    parser.add_argument('--norm', choices=NORMS, help="this norm in our model's FPN and heads (torchvision: none)")
    parser.add_argument('--compile', action='store_true', help='our model compiled beside our model')
    parser.add_argument('--mmdetection', metavar='PYTHON', help='interpreter of an environment with mmdetection')
    parser.add_argument('--repeats', type=int, default=5, help='times to measure')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--memory', action='store_true', help='also the peak memory of a training')
    parser.add_argument('--peak-of', choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def peak_of_training(args):
    """Print the most memory (MiB) that three steps of one side take beyond what the process held before them."""
    device = torch.device(args.device).type
    step = training_step(SIDES[args.peak_of](args), getattr(torch, args.dtype[0]), device)
    before = torch.cuda.memory_allocated(args.device) / 2**20 if device == 'cuda' else most_memory(args.device)
    for _ in range(3):
        step()
    print(most_memory(args.device) - before)


def images_a_second(lines, batch_size):
    """One line of text from the table's rows."""
    return 'images a second: ' + ', '.join(f'{what} {who} {batch_size * 1e3 / float(median):.3g}'
                                           for what, who, median, *_ in lines)


def main():
    args = parse_args()
    if args.peak_of:
        return peak_of_training(args)
    unknown = set(args.what) - {'train', 'inference'}
    if unknown:
        raise UserError(f'{", ".join(unknown)}: there are train and inference')
    mmdetection = OtherProcess(args.mmdetection, args) if args.mmdetection else None
    compared = ('compiled', 'mmdet') if args.compile else ('mmdet', 'torchvision')  # ratios are to the second
    sides = {}
    for name in compared:
        torch.manual_seed(0)
        sides[name] = SIDES[name](args)
    device = torch.device(args.device).type
    print(f'{machine()}\nMask R-CNN R-50-FPN, {args.batch_size} images of {args.size}, {args.objects} objects each\n')
    lines = []
    for what, make in (('train', training_step), ('inference', inference)):
        for dtype in args.dtype if what in args.what else []:
            steps = {name: make(side, getattr(torch, dtype), device) for name, side in sides.items()}
            if mmdetection:
                steps |= mmdetection.steps(what, dtype)
            lines += rows(f'{what} {dtype}', alternate(steps, args.repeats), compared[1])
    print(f'{markdown(lines)}\n\n{images_a_second(lines, args.batch_size)}')
    if args.memory:
        sides, steps = None, None  # they would hold a GPU's memory while others measure theirs
        gc.collect()
        torch.cuda.empty_cache()
        for dtype in args.dtype:
            peaks = {}
            for name in compared:
                words = [word for word in sys.argv[1:] if word != '--memory']
                # Freed tensors go back to the system, so the peak is of what is in use, without malloc's gaps.
                done = subprocess.run([sys.executable, __file__, *words, '--peak-of', name, '--dtype', dtype],
                                      env={'MALLOC_MMAP_THRESHOLD_': '1000000', **os.environ},
                                      stdout=subprocess.PIPE, text=True, check=True)
                peaks[name] = float(done.stdout)
            print(f'peak of training, {dtype}: ' + ', '.join(f'{name} {peak:.0f} MiB' for name, peak in peaks.items())
                  + f', ratio {peaks[compared[0]] / (peaks[compared[1]] or float("nan")):.2f}')


if __name__ == '__main__':
    with plain_errors():
        main()
