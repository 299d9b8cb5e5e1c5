"""AP against training time, here and in torchvision: python tools/analysis/compare_torchvision.py CONFIG [options]

Trains a Faster R-CNN of ResNet-18 or 34 with FPN, convolutional box head, and GN or BN twice: as the config has it, and
the same network of torchvision's parts, with the same data, optimizer and schedule. Both are tested with plain NMS.
Writes table.md, curves.json and curves.png. Started again, it goes on where it was interrupted.
"""
import argparse
import json
import os
from pathlib import Path

from trainings import add_options, command, compare, scalars

from mmdet.command_line import ConfigFile, ToolParser, plain_errors
from mmdet.errors import UserError

SIDES = ('ours', 'torchvision')


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', action=ConfigFile, help='config to train')
    parser.add_argument('--points', type=int, default=6, help='validations in a training')
    add_options(parser, 'work_dirs/compare_torchvision')
    return parser.parse_args()


def configs(args):
    """The two configs, written to the work dir."""
    from mmengine.config import Config, DictAction

    from mmdet.engine.config import read_config
    paths = {}
    for side in SIDES:
        cfg = read_config(args.config)
        parsed = argparse.ArgumentParser()
        parsed.add_argument('--options', nargs='*', action=DictAction, default={})
        cfg.merge_from_dict(parsed.parse_args(['--options', *args.cfg_options]).options)
        if cfg.model.type != 'FasterRCNN':
            raise UserError(f'{args.config}: model.type is {cfg.model.type}; only FasterRCNN has such a peer')
        cfg.train_cfg.val_interval = max(1, cfg.train_cfg.max_epochs // args.points)
        cfg.model.test_cfg.rcnn.nms = dict(type='nms', iou_threshold=0.5)
        if side == 'torchvision':
            cfg.custom_imports = dict(imports=['torchvision_peer'])
            cfg = Config(dict(cfg, model=dict(type='TorchvisionFasterRCNN', model=cfg.model)))
        paths[side] = args.work_dir / f'{side}.py'
        cfg.dump(paths[side])
    return paths


def curve(work_dir):
    """(seconds of training, box AP) of each validation."""
    points, seconds, step = [], 0., 0
    for entry in scalars(work_dir):
        if 'loss' in entry:
            seconds += entry['time'] * (entry['step'] - step)
            step = entry['step']
        elif 'coco/bbox_mAP' in entry:
            points.append((round(seconds, 1), entry['coco/bbox_mAP']))
    return points


def plot(curves, path):
    from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for side, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker='o', label=side)
    axes.set(xlabel='seconds of training', ylabel='box AP', xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main():
    args = parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    folders = [str(Path(__file__).parent), os.environ.get('PYTHONPATH')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, folders))  # the trainings import torchvision_peer
    trainings = {side: command(path, args.work_dir / side, []) for side, path in configs(args).items()}
    compare(trainings, args.work_dir, 'side')
    curves = {side: curve(args.work_dir / side) for side in SIDES}
    (args.work_dir / 'curves.json').write_text(json.dumps(curves))
    plot(curves, args.work_dir / 'curves.png')


if __name__ == '__main__':
    with plain_errors():
        main()
