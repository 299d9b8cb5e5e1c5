"""Times convolution + norm, forward and backward, for each norm in turns: python tools/analysis/benchmark_norms.py

Ratios are to BN.
"""
import argparse

import torch
from timing import alternate, machine, markdown, rows

from mmdet.models.layers import build_norm_layer, conv_norm

NORMS = dict(none=None, BN=dict(type='BN'), FrozenBN=dict(type='FrozenBN'), GN=dict(type='GN', num_groups=32),
             CBN=dict(type='CBN', buffer_num=3))
SHAPES = ['128x256x7x7', '2x256x40x40']


def parse_args():
    parser = argparse.ArgumentParser(description='Time convolution + norm')
    parser.add_argument('--shapes', nargs='+', default=SHAPES, metavar='BxCxHxW', help=f'inputs; default: {SHAPES}')
    parser.add_argument('--kernel-size', type=int, default=3)
    parser.add_argument('--norms', nargs='+', choices=NORMS, default=list(NORMS))
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', default=None, choices=['bfloat16', 'float16'], help='of autocast; default: none')
    parser.add_argument('--channels-last', action='store_true')
    return parser.parse_args()


def make_step(shape, name, args):
    """A function that runs forward and backward once."""
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    channels = shape[1]
    torch.manual_seed(0)
    x = torch.randn(shape, device=args.device).contiguous(memory_format=memory_format).requires_grad_()
    conv = torch.nn.Conv2d(channels, channels, args.kernel_size, padding=args.kernel_size // 2, bias=False)
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


def main():
    args = parse_args()
    print(f'{machine()}, {args.dtype or "float32"}\n')
    lines = []
    for text in args.shapes:
        shape = tuple(int(size) for size in text.split('x'))
        steps = {name: make_step(shape, name, args) for name in args.norms}
        times = alternate(steps, args.repeats, warmup=5)  # the first fill caches and CBN's history
        lines += rows(f'{text}, {args.kernel_size}x{args.kernel_size}', times, 'BN')
    print(markdown(lines))


if __name__ == '__main__':
    main()
