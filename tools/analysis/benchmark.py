"""Times inference, the loading of batches, or the preparing of pictures: python tools/analysis/benchmark.py CONFIG

mmdetection's options. --task inference times the model on pictures of the test data, one at a time, without the time
of loading them; --task dataloader times what a loader with its workers gives; --task dataset one process without a
loader. Of several processes the first tells its figures. tools/benchmark.py compares with other frameworks.
"""
import itertools
import time

from mmdet.command_line import CheckpointFile, ToolParser, add_config, add_run_options, plain_errors, prepare_run
from mmdet.errors import UserError


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--checkpoint', action=CheckpointFile, help='path or URL; without it the weights are random')
    parser.add_argument('--task', choices=['inference', 'dataloader', 'dataset'], default='dataloader',
                        help='what to time')
    parser.add_argument('--repeat-num', type=int, default=1, metavar='N', help='times to measure')
    parser.add_argument('--max-iter', type=int, default=2000, metavar='N',
                        help='items to measure at most, after the first ones')
    parser.add_argument('--log-interval', type=int, default=50, metavar='N', help='a line every N items')
    parser.add_argument('--num-warm-iter', type=int, default=5, metavar='N',
                        help='first items, which do not count')
    parser.add_argument('--fuse-conv-bn', action='store_true', help='changes nothing: the statistics that a batch '
                        'norm keeps are always folded into its convolution')
    parser.add_argument('--dataset-type', choices=['train', 'val', 'test'], default='test',
                        help='whose pictures --task dataloader and dataset load')
    add_run_options(parser)
    args = parser.parse_args()
    for name in ('repeat_num', 'max_iter', 'log_interval'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more')
    return args


def measure(items, work, unit, args, told=print):
    """Items a second that `work` does. The time in which `items` gives the next one does not count.

    Raises:
        UserError: there are no items beyond those that do not count.
    """
    spent = done = 0
    for count, item in enumerate(itertools.islice(items, args.num_warm_iter + args.max_iter), 1):
        start = time.perf_counter()
        work(item)
        if count > args.num_warm_iter:
            done, spent = done + 1, spent + time.perf_counter() - start
            if done % args.log_interval == 0:
                told(f'{done} of at most {args.max_iter}: {done / spent:.2f} {unit}/s, '
                     f'{spent / done * 1e3:.2f} ms/{unit}')
    if not done:
        raise UserError(f'no {unit} is left to measure after the first {args.num_warm_iter}: a lower --num-warm-iter '
                        'cures it')
    return done / spent


def main():
    args = parse_args()

    import torch
    from mmengine.dist import get_dist_info
    from timing import machine, most_memory

    from mmdet.apis import init_detector
    from mmdet.engine import Runner
    from mmdet.engine.distributed import device_type, start_process_group
    from mmdet.utils import register_all_modules
    cfg = prepare_run(args)
    register_all_modules()
    if args.launcher != 'none':
        start_process_group(args.launcher)
    split = 'test' if args.task == 'inference' else args.dataset_type
    if cfg.get(f'{split}_dataloader') is None:
        raise UserError(f'config {args.config} has no {split}_dataloader')
    loader_cfg = cfg[f'{split}_dataloader']
    if args.task == 'inference':
        loader_cfg.batch_size = 1
        model = init_detector(cfg, args.checkpoint, device=device_type())
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    unit = 'batch' if args.task == 'dataloader' else 'img'

    def detect(batch):
        with torch.no_grad():
            model.test_step(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    rank, processes = get_dist_info()
    told = print if rank == 0 else lambda text: None
    told(machine())
    rates = []
    for _ in range(args.repeat_num):
        if args.task == 'inference':
            items, work = loader, detect
        elif args.task == 'dataloader':
            items, work = itertools.repeat(iter(loader), len(loader)), next
        else:
            items, work = range(len(loader.dataset)), loader.dataset.__getitem__
        rates.append(measure(items, work, unit, args, told))
    mean = sum(rates) / len(rates)
    told(f'overall: {mean:.2f} {unit}/s, {1e3 / mean:.2f} ms/{unit}' +
         f', in {len(rates)} times {min(rates):.2f} to {max(rates):.2f} {unit}/s' * (len(rates) > 1) +
         f', a batch has {loader.batch_sampler.batch_size} pictures' * (unit == 'batch') +
         f'; {processes} processes, this is the first of them' * (processes > 1) +
         f'; peak memory of this process {most_memory(device_type()):.0f} MiB')


if __name__ == '__main__':
    with plain_errors():
        main()
