"""Prints a config with its bases merged: python tools/print_config.py CONFIG [--cfg-options ...] [--save-path FILE]."""
from pathlib import Path

from mmdet.command_line import ToolParser, add_config, add_config_options, plain_errors


def main():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--save-path', type=Path, help='also write it to this file (.py, .json or .yml)')
    add_config_options(parser)
    args = parser.parse_args()

    from mmdet.engine.config import read_config
    cfg = read_config(args.config, args.cfg_options)
    print(cfg.pretty_text)
    if args.save_path is not None:
        args.save_path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(args.save_path)


if __name__ == '__main__':
    with plain_errors():
        main()
