"""Curves and iteration times of trainings: python tools/analysis/analyze_logs.py TASK LOG [LOG ...] [options]

    python tools/analysis/analyze_logs.py plot_curve work_dirs/demo --keys loss_cls loss_bbox --out losses.png
    python tools/analysis/analyze_logs.py cal_train_time work_dirs/gn work_dirs/cbn

A LOG is a work dir or its TIMESTAMP/vis_data/scalars.json. Epochs are cut as mmdetection cuts them: the first line of
an epoch counts to the one before.
"""
from pathlib import Path

from mmdet.command_line import InputFiles, ToolParser, plain_errors
from mmdet.errors import UserError


def parse_args():
    parser = ToolParser(__doc__)
    tasks = parser.add_subparsers(dest='task', required=True, metavar='TASK', help='what to do with the logs')
    plot = tasks.add_parser('plot_curve', help='draw figures of the logs')
    plot.add_argument('--keys', nargs='+', default=['bbox_mAP'], help='figures to draw')
    plot.add_argument('--start-epoch', type=int, default=1, help='leave out the epochs before')
    plot.add_argument('--eval-interval', type=int, default=1, help='epochs between validations; taken from the log')
    plot.add_argument('--title', help='of the picture')
    plot.add_argument('--legend', nargs='+', help='a name for each key of each log')
    plot.add_argument('--backend', help='of matplotlib')
    plot.add_argument('--style', default='dark', help="seaborn's or matplotlib's")
    plot.add_argument('--out', help='picture to write; without it a window opens')
    times = tasks.add_parser('cal_train_time', help='mean time of an iteration')
    times.add_argument('--include-outliers', action='store_true', help='also the first line of every epoch')
    for task in (plot, times):
        task.add_argument('json_logs', nargs='+', action=InputFiles, metavar='LOG', help='work dir or JSON log')
    return parser.parse_args()


def cal_train_time(logs, args):
    import numpy as np

    from mmdet.report.train_log import seconds_an_iteration
    for path, epochs in logs.items():
        means = seconds_an_iteration(epochs, args.include_outliers)
        if not means:
            raise UserError(f'{path} has no epoch with two lines: --include-outliers takes one, or log more often '
                            '(default_hooks.logger.interval)')
        print(f'-----Analyze train time of {path}-----')
        for name, choose in (('slowest', max), ('fastest', min)):
            epoch = choose(means, key=means.__getitem__)
            print(f'{name} epoch {epoch}, average time is {means[epoch]:.4f} s/iter')
        values = np.array(list(means.values()))
        print(f'time std over epochs is {values.std():.4f}')
        print(f'average iter time: {values.mean():.4f} s/iter\n')


def plot_curve(logs, args):
    import matplotlib
    from matplotlib import pyplot, style

    from mmdet.report.train_log import curve
    names = args.legend or [f'{path}_{key}' for path in logs for key in args.keys]
    if len(names) != len(logs) * len(args.keys):
        raise UserError(f'--legend has {len(names)} names, the logs {len(logs) * len(args.keys)} curves')
    curves = []
    for path, epochs in logs.items():
        for key in args.keys:
            steps, values = curve(epochs, key, args.start_epoch)
            if not values:
                known = dict.fromkeys(key for lines in epochs.values() for line in lines for key in line)
                raise UserError(f'{path} has no figure {key}; it has {", ".join(known)}')
            curves.append((steps, values))
    if args.out:
        matplotlib.use('agg')
    if args.backend:
        pyplot.switch_backend(args.backend)
    wanted = next((name for name in (f'seaborn-v0_8-{args.style}', args.style) if name in style.available), None)
    if wanted is None:
        raise UserError(f'--style {args.style}: matplotlib has {", ".join(style.available)}')
    with style.context(wanted):
        figure, axes = pyplot.subplots(layout='constrained')
        for name, key, (steps, values) in zip(names, args.keys * len(logs), curves):
            markers = dict(marker='o') if 'mAP' in key else dict(linewidth=0.5)
            axes.plot(steps, values, label=name, **markers)
        axes.set(xlabel='epoch' if all('mAP' in key for key in args.keys) else 'iter', title=args.title or '')
        axes.legend()
        if args.out is None:
            pyplot.show()
        else:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(args.out)
            print(f'written to {args.out}')


def main():
    args = parse_args()

    from mmdet.report.train_log import read_log
    logs = {path: read_log(path) for path in args.json_logs}
    dict(plot_curve=plot_curve, cal_train_time=cal_train_time)[args.task](logs, args)


if __name__ == '__main__':
    with plain_errors():
        main()
