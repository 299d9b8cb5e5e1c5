"""What a data set holds, and anchors that fit it: python tools/analysis/dataset.py CONFIG_OR_JSON [options]

    python tools/analysis/dataset.py annotations/train.json --output-dir figures
    python tools/analysis/dataset.py CONFIG --anchors 15 --algorithm k-means

With a config, boxes are counted in the size that its Resize gives them; with a JSON file, in pixels of the pictures.
"""
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from mmdet.command_line import ToolParser, add_config_options, plain_errors
from mmdet.errors import UserError

PERCENTS = (0, 5, 25, 50, 75, 95, 100)
REACHED = 0.7  # IoU from which the RPN takes an anchor for an object


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('source', help='config, or annotation file in COCO\'s format')
    parser.add_argument('--loader', choices=['train', 'val', 'test'], default='train', help='whose data set')
    parser.add_argument('--output-dir', type=Path, help='write histograms here: dataset.png')
    parser.add_argument('--anchors', type=int, metavar='N', help='find N anchors that fit')
    parser.add_argument('--algorithm', choices=['k-means', 'differential_evolution'], default='k-means',
                        help='how anchors are found')
    parser.add_argument('--iters', type=int, default=1000, help='most steps of the algorithm')
    parser.add_argument('--seed', type=int, default=0, help='of the algorithm')
    add_config_options(parser)
    return parser.parse_args()


def read(args):
    """Names; image (N,), label (N,), width and height (N, 2) of objects; number of images, of objects left out."""
    if args.source.endswith('.json'):
        from mmdet.datasets.annotations import read_annotations
        table = read_annotations(args.source)
        kept = ~table.crowd & (table.boxes[:, 2:] > 0).all(axis=1)
        return ([category['name'] for category in table.categories], table.image[kept], table.category[kept],
                table.boxes[kept, 2:], table.num_images, int((~kept).sum()))
    from mmengine.dataset import Compose

    from mmdet.datasets.classes import settle_metainfo
    from mmdet.engine.config import innermost, read_config
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules
    cfg = read_config(args.source, args.cfg_options)
    register_all_modules()
    if not cfg.get(f'{args.loader}_dataloader'):
        raise UserError(f'config {args.source} has no {args.loader}_dataloader: choose another with --loader')
    chosen = cfg[f'{args.loader}_dataloader']['dataset']
    dataset = DATASETS.build(chosen)
    dataset.full_init()
    resize = [step for step in innermost(chosen).get('pipeline', []) if step['type'] == 'Resize']
    scale = Compose(resize[:1])
    image, label, sides, left_out = [], [], [], 0
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        factor = (1.0, 1.0)
        if resize:
            shape = (info['height'], info['width'])
            factor = scale(dict(img=np.empty((*shape, 1), np.uint8), img_shape=shape))['scale_factor']
        for item in info['instances']:
            x1, y1, x2, y2 = item['bbox']
            if not item['ignore_flag'] and x2 > x1 and y2 > y1:
                image.append(i)
                label.append(item['bbox_label'])
                sides.append(((x2 - x1) * factor[0], (y2 - y1) * factor[1]))
            else:
                left_out += 1
    return (list(settle_metainfo(dataset)['classes']), np.array(image, int), np.array(label, int),
            np.array(sides).reshape(-1, 2), len(dataset), left_out)


def tables(names, image, label, sides, num_images):
    """The text: objects per class and image, sizes and shapes, which classes stand together."""
    per_image = np.zeros((num_images, len(names)), int)
    np.add.at(per_image, (image, label), 1)
    rows = [['class', 'objects', 'images', 'an image', 'median size']]
    for i, name in enumerate(names):
        size = np.sqrt(sides[label == i].prod(axis=1))
        rows.append([name, per_image[:, i].sum(), (per_image[:, i] > 0).sum(), f'{per_image[:, i].mean():.2f}',
                     f'{np.median(size):.1f}' if len(size) else ''])
    spread = [['', *(f'{percent} %' for percent in PERCENTS)]]
    for name, values in (('objects an image', per_image.sum(axis=1)), ('width', sides[:, 0]), ('height', sides[:, 1]),
                         ('size, root of area', np.sqrt(sides.prod(axis=1))),
                         ('height / width', sides[:, 1] / sides[:, 0])):
        spread.append([name, *(f'{value:.2f}' for value in np.percentile(values, PERCENTS))])
    together = (per_image > 0).T.astype(int) @ (per_image > 0)
    pairs = sorted(((together[i, j], names[i], names[j]) for i in range(len(names)) for j in range(i)), reverse=True)
    return [AsciiTable(rows, f'{num_images} images, {len(sides)} objects').table, AsciiTable(spread, 'quantiles').table,
            AsciiTable([['images', 'classes in them together'], *([n, f'{a}, {b}'] for n, a, b in pairs[:10])]).table]


def plot(path, names, image, label, sides, num_images):
    import matplotlib
    matplotlib.use('agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), layout='constrained')
    axes[0, 0].hist(np.bincount(image, minlength=num_images), bins=30)
    axes[0, 0].set(title='objects an image', ylabel='images')
    axes[0, 1].hist(np.sqrt(sides.prod(axis=1)), bins=50)
    axes[0, 1].set(title='size, root of area in pixels', ylabel='objects')
    axes[1, 0].hist(np.log2(sides[:, 1] / sides[:, 0]), bins=50)
    axes[1, 0].set(title='log2 of height / width', ylabel='objects')
    counts = np.bincount(label, minlength=len(names))
    order = np.argsort(-counts)[:25]
    axes[1, 1].barh([names[i] for i in order][::-1], counts[order][::-1])
    axes[1, 1].set(title='objects of each class' if len(names) <= 25 else 'objects of the 25 most frequent classes')
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def shape_ious(sides, anchors):
    """IoU of boxes (N, 2) and anchors (K, 2), width and height, with one centre: (N, K)."""
    common = np.minimum(sides[:, None], anchors[None]).prod(axis=2)
    return common / (sides.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - common)


def fit_anchors(sides, number, algorithm, iters, seed):
    """Anchors (number, 2) of width and height, by rising area, that the boxes overlap well.

    k-means takes 1 - IoU for the distance; differential evolution raises the mean of the best IoU.
    """
    rng = np.random.default_rng(seed)
    if algorithm == 'differential_evolution':
        try:
            from scipy.optimize import differential_evolution
        except ImportError:
            raise UserError('--algorithm differential_evolution needs SciPy: pip install scipy') from None
        sample = rng.permutation(sides)[:5000]
        bounds = [(sides[:, i % 2].min(), sides[:, i % 2].max() + 1e-6) for i in range(2 * number)]
        found = differential_evolution(
            lambda flat: -shape_ious(sample, flat.reshape(-1, 2)).max(axis=1).mean(), bounds, maxiter=iters, seed=seed,
            popsize=5)
        anchors = found.x.reshape(-1, 2)
    else:
        anchors = rng.permutation(np.unique(sides, axis=0))[:number].copy()
        nearest = None
        for _ in range(iters):
            chosen = shape_ious(sides, anchors).argmax(axis=1)
            if nearest is not None and (chosen == nearest).all():
                break
            nearest = chosen
            anchors = np.stack([np.median(sides[chosen == k], axis=0) if (chosen == k).any() else anchors[k]
                                for k in range(len(anchors))])
    return anchors[np.argsort(anchors.prod(axis=1))]


def main():
    args = parse_args()
    names, image, label, sides, num_images, left_out = read(args)
    if not len(sides):
        raise UserError(f'{args.source} has no objects to count')
    print('\n'.join(tables(names, image, label, sides, num_images)))
    if left_out:
        print(f'not counted: {left_out} crowds, ignored objects and boxes without area')
    if args.output_dir is not None:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        plot(args.output_dir / 'dataset.png', names, image, label, sides, num_images)
        print(f'written to {args.output_dir / "dataset.png"}')
    if args.anchors is not None:
        if args.anchors < 1:
            raise UserError(f'--anchors is {args.anchors}: it must be at least 1')
        anchors = fit_anchors(sides, args.anchors, args.algorithm, args.iters, args.seed)
        best = shape_ious(sides, anchors).max(axis=1)
        rows = [[f'{w:.1f}', f'{h:.1f}', f'{h / w:.2f}'] for w, h in anchors]
        print(AsciiTable([['width', 'height', 'ratio'], *rows], 'anchors').table)
        print(f'mean of the best IoU {best.mean():.3f} with an anchor at the centre of the object; '
              f'{(best >= REACHED).mean():.1%} of the objects reach {REACHED}, {(best >= 0.5).mean():.1%} reach 0.5')


if __name__ == '__main__':
    with plain_errors():
        main()
