"""Times convolution + norm, forward and backward, for each norm in turns: python tools/analysis/benchmark_norms.py

Ratios are to BN. With --step: whole training steps of Mask R-CNN with the norm in FPN and heads; ratios are to SyncBN.
"""
import argparse

import torch
from timed_models import Ours, training_step
from timing import alternate, machine, markdown, rows

from mmdet.command_line import ToolParser
from mmdet.engine.kept_memory import keep_freed_memory
from mmdet.models.layers import Conv2d, build_norm_layer, conv_norm

NORMS = dict(none=None, BN=dict(type='BN'), FrozenBN=dict(type='FrozenBN'), GN=dict(type='GN', num_groups=32),
             CBN=dict(type='CBN', buffer_num=3))
STEP_NORMS = ['SyncBN', 'GN', 'CBN']
SHAPES = ['128x256x7x7', '2x256x40x40']


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--shapes', nargs='+', default=SHAPES, metavar='BxCxHxW', help='inputs')
    parser.add_argument('--kernel-size', type=int, default=3, help='of the convolution')
    parser.add_argument('--norms', nargs='+', choices=[*NORMS, *STEP_NORMS], metavar='NORM',
                        help=f'default: {" ".join(NORMS)}; with --step: {" ".join(STEP_NORMS)}')
    parser.add_argument('--repeats', type=int, default=30, help='times to measure')
    parser.add_argument('--step', metavar='BxHxW', help='training steps on B images of H x W in place of --shapes')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--dtype', default=None, choices=['bfloat16', 'float16'], help='of autocast; default: none')
    parser.add_argument('--channels-last', action='store_true', help='memory of the inputs; without it contiguous')
    return parser.parse_args()


def make_step(shape, name, args):
    """A function that runs forward and backward once."""
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    channels = shape[1]
    torch.manual_seed(0)
    x = torch.randn(shape, device=args.device).contiguous(memory_format=memory_format).requires_grad_()
    conv = Conv2d(channels, channels, args.kernel_size, padding=args.kernel_size // 2, bias=False)
    conv = conv.to(args.device, memory_format=memory_format)
    norm = NORMS[name] and build_norm_layer(NORMS[name], channels)[1].to(args.device)
    learned = [p for p in (*conv.parameters(), *(norm.parameters() if norm else ())) if p.requires_grad]
    dtype = args.dtype and getattr(torch, args.dtype)
    grad = torch.randn(shape, device=args.device, dtype=dtype).contiguous(memory_format=memory_format)

    def step():
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            out = conv_norm(x, conv, norm)
        torch.autograd.grad(out, [x, *learned], grad)
    return step


def whole_step(name, args):
    """A function that trains Mask R-CNN with this norm for one step; CBN's history is full and in use.

    All norms start from the same weights and keep them (learning rate 0). Other weights would give other proposals and
    so another number of masks to learn, which changes the time.
    """
    images, height, width = map(int, args.step.split('x'))
    torch.manual_seed(0)
    options = dict(device=args.device, norm=name, batch_size=images, size=f'{height}x{width}', objects=8)
    side = Ours(argparse.Namespace(**options))
    for module in side.model.modules():
        if hasattr(module, 'burnin_iters'):
            module.burnin_iters = 0
    return training_step(side, getattr(torch, args.dtype or 'float32'), torch.device(args.device).type, lr=0)


def main():
    args = parse_args()
    print(f'{machine()}, {args.dtype or "float32"}\n')
    keep_freed_memory()  # as in every training
    warmup = min(5, args.repeats)  # the first fill caches and CBN's history
    lines = []
    if args.step:
        steps = {name: whole_step(name, args) for name in args.norms or STEP_NORMS}
        lines += rows(f'step, {args.step}', alternate(steps, args.repeats, warmup), 'SyncBN')
    for text in [] if args.step else args.shapes:
        shape = tuple(int(size) for size in text.split('x'))
        steps = {name: make_step(shape, name, args) for name in args.norms or NORMS}
        times = alternate(steps, args.repeats, warmup)
        lines += rows(f'{text}, {args.kernel_size}x{args.kernel_size}', times, 'BN')
    print(markdown(lines))


if __name__ == '__main__':
    main()
