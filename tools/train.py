"""Trains a detector: python tools/train.py CONFIG [options]; on several processes through dist_train.sh."""

from mmdet.command_line import ToolParser, add_config, add_norm_option, add_run_options, plain_errors, prepare_run
from mmdet.errors import UserError
from mmdet.named_files import existing_checkpoint


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on GPUs, bfloat16 on CPUs')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from this checkpoint, or without a path from the last one of the work dir')
    add_norm_option(parser, 'this norm in FPN, box head and mask head, and in the backbone where its norms are '
                            'trained; a 2fc box head becomes 4conv1fc')
    add_run_options(parser)
    args = parser.parse_args()
    if args.resume not in (None, 'auto'):
        existing_checkpoint(args.resume)
    return args


def main():
    args = parse_args()

    from mmdet.engine.norm_option import apply_norm
    from mmdet.engine.restart import restarted
    from mmdet.registry import RUNNERS
    from mmdet.utils import register_all_modules
    cfg = prepare_run(args)
    missing = [key for key in ('train_dataloader', 'train_cfg', 'optim_wrapper') if cfg.get(key) is None]
    if missing:
        raise UserError(f'config {args.config} cannot be trained: it has no {", ".join(missing)}')
    if args.norm:
        apply_norm(cfg, args.norm)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise UserError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size, which {args.config} lacks')
        cfg.auto_scale_lr.enable = True
    if restarted(cfg.work_dir):
        args.resume = 'auto'
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    register_all_modules()
    RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg).train()


if __name__ == '__main__':
    with plain_errors():
        main()
