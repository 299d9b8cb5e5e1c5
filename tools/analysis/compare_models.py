"""Trains configs and prints a table of their AP: python tools/analysis/compare_models.py [CONFIG ...] [options]

Without configs they are those of the demo: Faster and Cascade R-CNN, RPN (its AR), and Mask R-CNN without and with
CopyPaste. When it is started again, the command goes on where it was interrupted and skips what has ended.
"""
from pathlib import Path

from trainings import ROOT, add_options, command, compare

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import UserError
from mmdet.named_files import existing_config

DEMOS = ('faster-rcnn_demo', 'cascade-rcnn_demo', 'rpn_demo', 'mask-rcnn_demo', 'mask-rcnn_demo_copy-paste')


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('configs', nargs='*', type=Path, default=[ROOT / f'configs/demo/{name}.py' for name in DEMOS],
                        help='default: those of the demo')
    add_options(parser, 'work_dirs/compare_models')
    args = parser.parse_args()
    by_name = {config.stem: config for config in args.configs}
    if len(by_name) < len(args.configs):
        raise UserError('two of the configs have one name: the table and the work dirs could not tell them apart')
    for config in args.configs:
        existing_config(config)
    compare({name: command(config, args.work_dir / name, args.cfg_options) for name, config in by_name.items()},
            args.work_dir, 'model')


if __name__ == '__main__':
    with plain_errors():
        main()
