"""Times COCO's evaluation by every installed evaluator: python tools/analysis/benchmark_evaluation.py

Ground truth and detections are generated, and the evaluators take turns. It also prints the largest difference between
their precisions.
"""
import functools

import numpy as np
from pycocotools import mask as mask_api
from timing import alternate, machine, markdown, rows

from mmdet.command_line import ToolParser
from mmdet.evaluation.coco_evaluation import EVALUATORS, average_precision, coco_index, evaluate_coco

HEIGHT, WIDTH = 480, 640


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--images', type=int, default=5000, help='generated images')
    parser.add_argument('--classes', type=int, default=80, help='their classes')
    parser.add_argument('--objects', type=float, default=7, help='mean number in an image')
    parser.add_argument('--detections', type=int, nargs=2, default=[20, 40], metavar=('LEAST', 'MOST'),
                        help='number in an image')
    parser.add_argument('--iou-types', nargs='+', choices=['bbox', 'segm'], default=['bbox', 'segm'],
                        help='what to evaluate')
    parser.add_argument('--repeats', type=int, default=3, help='times to measure')
    parser.add_argument('--seed', type=int, default=0, help='of the generated detections')
    return parser.parse_args()


def boxes_like_coco(rng, num):
    """xywh (num, 4): sides of 8 to 480 pixels, small ones more often, inside the image."""
    size = np.exp(rng.uniform(np.log(8), np.log(480), (num, 1)) + rng.normal(0, 0.3, (num, 2)))
    size = size.clip(4, [WIDTH, HEIGHT])
    return np.concatenate([rng.random((num, 2)) * ([WIDTH, HEIGHT] - size), size], axis=1)


def outlines(rng, boxes):
    """A polygon of 24 points round the middle of each box: a list of lists x, y, x, y, ..."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = rng.uniform(0.7, 1, (len(boxes), 24, 1)) / 2
    points = boxes[:, None, :2] + boxes[:, None, 2:] * (0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return [[polygon] for polygon in points.reshape(len(boxes), 48).tolist()]


def generate(args):
    """A dict of COCO annotations, and detections: objects found more or less exactly, false ones, wrong classes."""
    rng = np.random.default_rng(args.seed)
    popularity = rng.permutation(1 / np.arange(1, args.classes + 1))
    popularity /= popularity.sum()
    annotations, results = [], []
    for image_id in range(1, args.images + 1):
        count, found = rng.poisson(args.objects), rng.integers(args.detections[0], args.detections[1] + 1)
        boxes = boxes_like_coco(rng, count)
        labels = rng.choice(args.classes, count, p=popularity) + 1
        for box, label, polygons in zip(boxes, labels, outlines(rng, boxes)):
            annotations.append(dict(image_id=image_id, category_id=int(label), bbox=box.tolist(), iscrowd=0,
                                    area=float(box[2] * box[3] * 0.57), segmentation=polygons))
        # Each object is found about twice, up to 30 percent of its size off its place. The other detections are false.
        hit = rng.permutation(np.arange(count).repeat(2))[:found]
        offset = rng.normal(0, 0.1, (len(hit), 4)) * boxes[hit][:, [2, 3, 2, 3]]
        guesses = np.concatenate([boxes[hit] + offset, boxes_like_coco(rng, found - len(hit))])
        guesses[:, :2] = guesses[:, :2].clip(0, [WIDTH - 4, HEIGHT - 4])
        guesses[:, 2:] = guesses[:, 2:].clip(3, [WIDTH, HEIGHT] - guesses[:, :2])
        random = rng.choice(args.classes, found, p=popularity) + 1
        guessed = np.where(rng.random(found) < 0.8, np.concatenate([labels[hit], random[len(hit):]]), random)
        scores = np.concatenate([rng.beta(4, 2, len(hit)), rng.beta(1, 4, found - len(hit))])
        for box, label, score, polygons in zip(guesses, guessed, scores, outlines(rng, guesses)):
            rle = mask_api.frPyObjects(polygons, HEIGHT, WIDTH)[0]
            results.append(dict(image_id=image_id, category_id=int(label), score=float(score), bbox=box.tolist(),
                                segmentation=dict(size=rle['size'], counts=rle['counts'].decode())))
    images = [dict(id=i, file_name=f'{i}.jpg', height=HEIGHT, width=WIDTH) for i in range(1, args.images + 1)]
    categories = [dict(id=i, name=f'class {i}') for i in range(1, args.classes + 1)]
    return dict(images=images, annotations=annotations, categories=categories), results


def main():
    args = parse_args()
    dataset, results = generate(args)
    print(f'{machine()}\n{args.images} images, {len(dataset["annotations"])} objects, {len(results)} detections')
    lines = []
    for iou_type in args.iou_types:
        evaluations = {}

        def evaluate(name, iou_type=iou_type, evaluations=evaluations):
            evaluations[name] = evaluate_coco(coco_index(dataset, name), results, iou_type)
        times = alternate({name: functools.partial(evaluate, name) for name in EVALUATORS}, args.repeats, warmup=0)
        lines += rows(iou_type, times, 'pycocotools')
        precisions = [evaluation.eval['precision'] for evaluation in evaluations.values()]
        apart = max(abs(other - precisions[0]).max() for other in precisions)
        print(f'{iou_type}: AP {average_precision(next(iter(evaluations.values()))):.4f}, '
              f'precisions at most {apart:.1e} apart')
    print(f'\n{markdown(lines)}')


if __name__ == '__main__':
    main()
