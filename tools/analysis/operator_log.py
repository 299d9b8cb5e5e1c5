"""Lists the operators of a training step on a GPU, without a GPU: python tools/analysis/operator_log.py [CONFIG]

The step runs on tensors that have shapes, dtypes and devices, but no numbers. Of each operator are counted its
launches, the bytes that it reads and writes, its FLOP, and the time it takes at least on a device of --bandwidth and
--speed, by default an H100 in bfloat16: its bytes by the one or its FLOP by the other, whichever is longer. The sum of
these is the step's floor. --cuda-graph counts what is left outside the graph of losses and gradients.
"""
from pathlib import Path

from mmdet.command_line import NORM_NAMES, ConfigFile, ToolParser, add_config_options, plain_errors
from mmdet.errors import UserError

CONFIG = Path(__file__).parents[2] / 'configs/mask_rcnn/mask_rcnn_r50_fpn_1x.py'


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', action=ConfigFile, default=str(CONFIG),
                        help='config file (default: Mask R-CNN R-50-FPN)')
    parser.add_argument('--batch-size', type=int, default=16, help='images a step')
    parser.add_argument('--size', default='800x1344', metavar='HxW', help='of the images in pixels')
    parser.add_argument('--objects', type=int, default=8, help='of each image')
    parser.add_argument('--dtype', default='bfloat16', choices=['float32', 'bfloat16', 'float16'],
                        help='others than float32 are of autocast')
    parser.add_argument('--norm', nargs='+', choices=NORM_NAMES, default=[None],
                        help='these in neck and heads, one after the other; then only their sums are listed '
                             '(default: the norms of the config)')
    parser.add_argument('--slope-stride', type=int, default=1, help='of --norm CBN')
    parser.add_argument('--bandwidth', type=float, default=2.7e12, help='bytes a second that a good kernel moves')
    parser.add_argument('--speed', type=float, default=560e12, help='FLOP a second that a good kernel computes')
    parser.add_argument('--cuda-graph', action='store_true', help='losses and gradients are a graph of one launch')
    parser.add_argument('--by', choices=['part', 'operator', 'line'], nargs='+', default=['part', 'operator'],
                        help="tables: the model's parts, operators by name, lines of code")
    parser.add_argument('--top', type=int, default=30, help='lines of a table')
    add_config_options(parser)
    args = parser.parse_args()
    height, by, width = args.size.partition('x')
    if not (by and height.isdigit() and width.isdigit()) or min(int(height), int(width), args.batch_size) < 1:
        raise UserError(f'--size {args.size} --batch-size {args.batch_size}: such as 800x1344 and 16')
    args.size = int(height), int(width)
    return args


def main():
    args = parse_args()

    from timing import markdown

    from mmdet.apis.operator_log import Device, record
    from mmdet.engine.config import read_config
    from mmdet.engine.norm_option import apply_norm
    lines = []
    for norm in args.norm:
        cfg = read_config(args.config, args.cfg_options)
        if norm:
            apply_norm(cfg, norm, **(dict(slope_stride=args.slope_stride) if norm == 'CBN' else {}))
        log = record(cfg, args.batch_size, args.size, args.objects, args.dtype, Device(args.bandwidth, args.speed),
                     args.cuda_graph)
        lines.append([norm or Path(args.config).stem, *log.sums(log.entries), f'{log.kept / 1e9:.1f}'])
        for by in args.by if len(args.norm) == 1 else []:
            print(markdown(log.table(by)[:args.top], [by, *HEAD]) + '\n')
    print(markdown(lines, ['step', *HEAD, 'GB kept']))


HEAD = ['operators', 'launches', 'GB read', 'GB written', 'TFLOP', 'floor, ms']

if __name__ == '__main__':
    with plain_errors():
        main()
