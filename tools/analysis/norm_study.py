"""How many images does a norm need? Trains one network with each norm and few images on a device, and draws the answer.

    pip install scikit-image                 # its photographs
    python tools/analysis/norm_study.py      # the short form: at most 20 minutes on two idle cores
    python tools/analysis/norm_study.py --norms all --images 32 16 8 4 2 --seeds 5 --steps 1500   # hours; --device cuda
    python tools/analysis/norm_study.py --plot work_dirs/norm_study/results.jsonl

A residual network of 16 convolutions tells which photograph or which texture a grey patch of 32 x 32 pixels is of.
Each step has 32 pictures, spread over 32 / N devices of N images that share the weights, and one learning rate. So the
number of images that share statistics is all that changes. Each finished training is one line of results.jsonl. Started
again, the command trains what is missing. Of the learning rates --lrs, each norm and number of images takes its best by
validation.
"""
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from mmdet.command_line import ToolParser, plain_errors

KEY = ('task', 'norm', 'images', 'seed', 'lr', 'steps', 'batch', 'burnin', 'pretrain', 'map')
PICTURES = dict(train=12000, val=1000, test=2000)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--task', default='photographs', help="'photographs', of scikit-image; 'textures', generated; "
                        'or a folder of photographs, each a class')
    parser.add_argument('--norms', nargs='+', metavar='NORM', default=['BN', 'GN', 'CBN, buffer 7'],
                        help="as the tables name them, or 'all' that one can choose")
    parser.add_argument('--images', nargs='+', type=int, default=[32, 4, 2], help='on a device')
    parser.add_argument('--batch', type=int, default=32, help='pictures a step on all devices')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each kind')
    parser.add_argument('--first-seed', type=int, default=0, help='of these')
    parser.add_argument('--steps', type=int, default=600, help='of a training')
    parser.add_argument('--lrs', nargs='+', type=float, default=[0.03], help='learning rates')
    parser.add_argument('--burnin', type=float, default=0.2, help='share of the steps with CBN as BN')
    parser.add_argument('--pretrain', type=int, default=0, metavar='STEPS',
                        help='of BN over all pictures before the training, at the learning rate 0.03')
    parser.add_argument('--map', type=int, default=2, choices=(2, 4, 8, 16), help='edge of the last maps')
    parser.add_argument('--probes', type=int, default=8, help='looks at the statistics of a CBN')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='trainings side by side')
    parser.add_argument('--limit', type=float, default=float('inf'),
                        help='start no training after so many seconds; default: no limit')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/norm_study/results.jsonl'),
                        help='gets a line for each training; the tables and pictures lie beside it')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='train nothing: draw what this file holds')
    return parser.parse_args()


def jobs(args, names, any_batch, finished):
    """(norm, images, seeds, lr) of what is missing. On a GPU one training has all seeds, which costs little more."""
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    seeds = [[seed] for seed in seeds] if args.device == 'cpu' else [list(seeds)]
    for lr in args.lrs:
        for together in seeds:
            for norm in names:
                for images in [max(args.images)] if norm in any_batch else sorted(args.images, reverse=True):
                    missing = [seed for seed in together if key(args, norm, images, seed, lr) not in finished]
                    if missing:
                        yield norm, images, missing, lr


def key(args, norm, images, seed, lr):
    return args.task, norm, images, seed, lr, args.steps, args.batch, args.burnin, args.pretrain, args.map


def work(norm, images, seeds, lr, args, deadline):
    """Lines of one training, in a process of its own; none after the deadline."""
    import torch
    from study_task import load
    from study_training import train
    start = time.time()
    if start > deadline:
        return []
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    task = {split: tuple(part.to(args.device) for part in load(args.task, count, split))
            for split, count in PICTURES.items()}
    results = train(task, norm, images, seeds, lr, args, args.device)
    seconds = round((time.time() - start) / len(seeds), 1)
    return [dict(zip(KEY, key(args, norm, images, seed, lr), strict=True), seconds=seconds, **rounded(result))
            for seed, result in zip(seeds, results, strict=True)]


def trained(todo, args, deadline):
    """What `work` returns for each of the jobs, in the order in which they end."""
    if args.jobs == 1:
        yield from (work(*job, args, deadline) for job in todo)
        return
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn')) as pool:
        for future in as_completed([pool.submit(work, *job, args, deadline) for job in todo]):
            yield future.result()


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def read(file):
    usual = dict(pretrain=0, map=2)  # which lines may leave out
    return [usual | json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main():
    args = parse_args()
    from study_norms import ANY_BATCH, CAUSES, NORMS

    from mmdet.errors import UserError
    if not args.plot:
        names = [name for name in NORMS if name not in CAUSES] if args.norms == ['all'] else args.norms
        unknown = [name for name in names if name not in NORMS]
        if unknown:
            raise UserError(f'--norms {unknown[0]!r} is unknown; known: {", ".join(NORMS)}')
        odd = [images for images in args.images if images < 1 or args.batch % images]
        if odd:
            raise UserError(f'--images {odd[0]} does not divide --batch {args.batch}')
        args.out.parent.mkdir(parents=True, exist_ok=True)
        finished = {tuple(line[name] for name in KEY) for line in read(args.out)}
        todo = list(jobs(args, names, ANY_BATCH, finished))
        print(f'{len(todo)} trainings to do, {len(finished)} found in {args.out}', flush=True)
        deadline = time.time() + args.limit
        for lines in trained(todo, args, deadline):
            with open(args.out, 'a') as file:
                for line in lines:
                    file.write(json.dumps(line) + '\n')
                    print('{norm}, {images} images, seed {seed}, lr {lr}: {test:.1f} % ({seconds:.0f} s)'
                          .format(**line), flush=True)
    from study_plots import draw
    file = args.plot or args.out
    draw(read(file), file.parent)


if __name__ == '__main__':
    with plain_errors():
        main()
