"""Trains a config with each norm and prints a table: python tools/analysis/compare_norms.py [CONFIG] [options]

All norms have the same seed, data and images a step. SyncBN runs on several processes that share the batch. When it is
started again, the command goes on where it was interrupted and skips norms whose training has ended.
"""

from trainings import ROOT, add_options, command, compare

from mmdet.command_line import NORM_NAMES, ConfigFile, ToolParser, plain_errors
from mmdet.errors import UserError


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', action=ConfigFile,
                        default=str(ROOT / 'configs/demo/mask-rcnn_demo_256.py'), help='config to train')
    parser.add_argument('--norms', nargs='+', choices=NORM_NAMES, default=list(NORM_NAMES),
                        help='norms to train it with')
    parser.add_argument('--sync-processes', type=int, default=2, metavar='N', help='processes of SyncBN')
    add_options(parser, 'work_dirs/compare_norms')
    return parser.parse_args()


def norm_command(args, norm):
    """The training of one norm as a command line."""
    options, before, after = list(args.cfg_options), [], ['--norm', norm]
    if norm == 'SyncBN' and args.sync_processes > 1:
        from mmdet.engine.config import read_config
        batch_size = read_config(args.config).train_dataloader.batch_size
        if batch_size % args.sync_processes:
            raise UserError(f'--sync-processes {args.sync_processes} does not divide the batch of {batch_size} images')
        options.append(f'train_dataloader.batch_size={batch_size // args.sync_processes}')
        before = [str(ROOT / 'tools/launch.py'), str(args.sync_processes)]
        after += ['--launcher', 'pytorch']
    return command(args.config, args.work_dir / norm, options, before, after)


def main():
    args = parse_args()
    compare({norm: norm_command(args, norm) for norm in args.norms}, args.work_dir, 'norm')


if __name__ == '__main__':
    with plain_errors():
        main()
