"""Evaluates a checkpoint: python tools/test.py CONFIG CHECKPOINT [options]; on several processes: dist_test.sh."""

from mmdet.command_line import CheckpointFile, ToolParser, add_config, add_run_options, plain_errors, prepare_run
from mmdet.errors import UserError


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('checkpoint', action=CheckpointFile, help='checkpoint: path or URL')
    parser.add_argument('--out', metavar='FILE', help='also write the predictions: FILE.json, COCO results, or '
                        "FILE.pkl, mmdetection's list of one dict an image; masks as RLE")
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--show-dir', help='write pictures of ground truth and predictions to '
                                           'WORK_DIR/TIMESTAMP/SHOW_DIR, or to SHOW_DIR when it is absolute')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that --show shows a picture')
    parser.add_argument('--tta', action='store_true',
                        help="test-time augmentation: the config's tta_model and tta_pipeline, by default mirrored")
    add_run_options(parser)
    return parser.parse_args()


def add_file(evaluator, path):
    """Let the evaluator also write what it evaluates."""
    from mmdet.evaluation.dump_det_results import DumpCocoResults, DumpDetResults
    if path.endswith('.json'):
        ann_files = {metric.ann_file for metric in evaluator.metrics if getattr(metric, 'ann_file', None)}
        if len(ann_files) > 1:
            raise UserError(f'--out {path}: the ids of {len(ann_files)} annotation files do not fit into one file of '
                            'COCO results; a .pkl takes them')
        metric = DumpCocoResults(path, *ann_files)
    else:
        metric = DumpDetResults(path)
    metric.dataset_meta = evaluator.dataset_meta
    evaluator.metrics.append(metric)


def main():
    args = parse_args()
    if args.out is not None and not args.out.endswith(('.json', '.pkl', '.pickle')):
        raise UserError(f'--out {args.out}: the name of the file must end in .json, .pkl or .pickle')

    from mmdet.engine.tta import use_tta
    from mmdet.registry import RUNNERS
    from mmdet.utils import register_all_modules
    cfg = prepare_run(args)
    missing = [key for key in ('test_dataloader', 'test_cfg', 'test_evaluator') if cfg.get(key) is None]
    if missing:
        raise UserError(f'config {args.config} cannot be tested: it has no {", ".join(missing)}')
    if args.tta:
        use_tta(cfg)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.show or args.show_dir:
        cfg.default_hooks.visualization = dict(type='DetVisualizationHook', draw=True, show=args.show,
                                               wait_time=args.wait_time, test_out_dir=args.show_dir)
    register_all_modules()
    runner = RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg)
    if args.out is not None:
        add_file(runner.test_evaluator, args.out)
    runner.test()


if __name__ == '__main__':
    with plain_errors():
        main()
