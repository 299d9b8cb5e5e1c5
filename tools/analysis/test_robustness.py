"""Tests on corrupted pictures: python tools/analysis/test_robustness.py CONFIG CHECKPOINT --out FILE.json [options]

Prints the figures on clean pictures (P), their mean over corruptions and severities (mPC), and the share of P that is
left (rPC), of arXiv 1907.07484. OUT_results.json holds them all: corruption, severity, figures.
Needs imagecorruptions: pip install 'mmdet-norms[corrupt]'.
"""
from pathlib import Path

from mmdet.command_line import CheckpointFile, ToolParser, add_config, add_run_options, plain_errors, prepare_run
from mmdet.errors import UserError

GROUPS = dict(
    noise=['gaussian_noise', 'shot_noise', 'impulse_noise'],
    blur=['defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'], weather=['snow', 'frost', 'fog', 'brightness'],
    digital=['contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'],
    holdout=['speckle_noise', 'gaussian_blur', 'spatter', 'saturate'])
BENCHMARK = [name for group in ('noise', 'blur', 'weather', 'digital') for name in GROUPS[group]]
GROUPS |= dict(benchmark=BENCHMARK, all=[*BENCHMARK, *GROUPS['holdout']])


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('checkpoint', action=CheckpointFile, help='checkpoint: path or URL')
    parser.add_argument('--out', type=Path, default=Path('robustness.json'), help='FILE.json or FILE.pkl; the figures '
                        'go to FILE_results.json or .pkl')
    parser.add_argument('--corruptions', nargs='+', default=['benchmark'], choices=[*GROUPS, *GROUPS['all'], 'None'],
                        metavar='NAME', help=f'{", ".join(GROUPS)}, None, or single ones')
    parser.add_argument('--severities', type=int, nargs='+', choices=range(6), default=list(range(6)),
                        help='0 is a clean picture')
    parser.add_argument('--seed', type=int, help='of what chance decides')
    parser.add_argument('--final-prints', nargs='+', choices=['P', 'mPC', 'rPC'], default=['P', 'mPC', 'rPC'],
                        help='figures to print')
    parser.add_argument('--final-prints-aggregate', choices=['all', 'benchmark'], default='benchmark',
                        help='corruptions that count')
    add_run_options(parser)
    args = parser.parse_args()
    if args.out.suffix not in ('.json', '.pkl'):
        raise UserError(f'--out {args.out}: the name must end in .json or .pkl')
    return args


def leaves(dataset):
    """The data sets that load pictures."""
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    return [leaf for part in inner for leaf in leaves(part)] or [dataset]


def summary(results, names, aggregate):
    """P, mPC and rPC of each figure; None for one that is not there, -1 in COCO's figures."""
    import numpy as np
    counted = [corruption for corruption in results if aggregate == 'all' or corruption in BENCHMARK] or list(results)
    clean = next((of[0] for of in results.values() if 0 in of), {})
    spoilt = [figures for corruption in counted for severity, figures in results[corruption].items() if severity]
    rows = dict(P=[clean.get(name) for name in names],
                mPC=[np.mean([figures[name] for figures in spoilt]) if spoilt else None for name in names])
    rows = {row: [None if value == -1 else value for value in values] for row, values in rows.items()}
    rows['rPC'] = [mean / first if mean is not None and first else None for first, mean in zip(*rows.values())]
    return rows


def main():
    args = parse_args()
    wanted = dict.fromkeys(name for given in args.corruptions for name in GROUPS.get(given, [given]))
    severities = {corruption: [0] if corruption == 'None' else sorted(set(args.severities)) for corruption in wanted}

    from mmengine.dist import is_main_process
    from mmengine.fileio import dump
    from terminaltables import AsciiTable

    from mmdet.registry import RUNNERS, TRANSFORMS
    from mmdet.utils import register_all_modules
    cfg = prepare_run(args)
    register_all_modules()
    transforms = {(name, severity): TRANSFORMS.build(dict(type='Corrupt', corruption=name, severity=severity))
                  for name in wanted for severity in severities[name] if severity}
    cfg.load_from, cfg.resume = args.checkpoint, False
    cfg.test_dataloader.persistent_workers = False  # each pass has a pipeline of its own
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    runner = RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg)
    pipelines = [leaf.pipeline for leaf in leaves(runner.test_dataloader.dataset)]
    plain = [list(pipeline.transforms) for pipeline in pipelines]
    results, clean = {}, None
    for corruption in wanted:
        for severity in severities[corruption]:
            if severity or clean is None:
                step = [transforms[corruption, severity]] if severity else []
                for pipeline, (load, *others) in zip(pipelines, plain):
                    pipeline.transforms = [load, *step, *others]
                figures = runner.test()
                clean = clean if severity else figures
            results.setdefault(corruption, {})[severity] = figures if severity else clean
            if is_main_process():
                args.out.parent.mkdir(parents=True, exist_ok=True)
                dump(results, str(args.out.with_name(f'{args.out.stem}_results{args.out.suffix}')))
    if is_main_process():
        names = list(next(iter(next(iter(results.values())).values())))
        columns = sorted({severity for of in results.values() for severity in of})
        print(AsciiTable([[names[0], *columns], *([corruption, *(f'{of[s][names[0]]:.3f}' if s in of else '' for s in
                          columns)] for corruption, of in results.items())], ' severity ').table)
        rows = summary(results, names, args.final_prints_aggregate)
        print(AsciiTable([['', *names], *([row, *('-' if value is None else f'{value:.3f}' for value in rows[row])]
                                          for row in args.final_prints)]).table)


if __name__ == '__main__':
    with plain_errors():
        main()
