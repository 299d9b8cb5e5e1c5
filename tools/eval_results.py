"""Evaluate result files, COCO's or pickles: python tools/eval_results.py ANNOTATIONS.json RESULT [RESULT ...]

Prints AP and AR of boxes and masks, whichever the files hold. With several files it also prints how each differs from
the first. --classwise adds a table of the classes.
"""
from pathlib import Path

from terminaltables import AsciiTable

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import MissingFileError, UserError

PRECISIONS = dict(AP={}, AP50=dict(iou=0.5), AP75=dict(iou=0.75), APs=dict(area='_s'), APm=dict(area='_m'),
                  APl=dict(area='_l'))
RECALLS = {'AR@1': dict(max_dets=1), 'AR@10': dict(max_dets=10), 'AR@100': dict(max_dets=100), 'ARs': dict(area='_s'),
           'ARm': dict(area='_m'), 'ARl': dict(area='_l')}


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('annotations', help='ground truth, COCO instances JSON')
    parser.add_argument('results', nargs='+', metavar='result', help='detections: COCO results, a list of dicts '
                        'with image_id, category_id, score and bbox (xywh), segmentation (RLE) or both; or a pickle of '
                        'test.py --out')
    parser.add_argument('--classwise', action='store_true', help='also a table of the classes')
    parser.add_argument('--iou-type', choices=['bbox', 'segm'], help='default: what all files hold')
    parser.add_argument('--evaluator', choices=['auto', 'faster-coco-eval', 'pycocotools'], default='auto',
                        help='their figures are the same; auto takes the fastest that is installed')
    return parser.parse_args()


def types_to_evaluate(results, wanted):
    """IoU types that every file of `results` (path -> detections) can be evaluated for."""
    from mmdet.evaluation.results import iou_types
    types = [wanted] if wanted else ['bbox', 'segm']
    for path, detections in results.items():
        held = iou_types(detections)
        types = [iou_type for iou_type in types if iou_type in held]
        if not types:
            raise UserError(f'{path} holds only {held}, which does not fit '
                            + (f'--iou-type {wanted}' if wanted else f'the other files ({list(results)})'))
    return types


def figures(evaluation, category_id=None):
    """Figures of all classes, or the precisions of one."""
    from mmdet.evaluation.coco_evaluation import average_precision, average_recall
    values = {name: average_precision(evaluation, category_ids=category_id, **options)
              for name, options in PRECISIONS.items()}
    if category_id is None:
        values.update((name, average_recall(evaluation, **options)) for name, options in RECALLS.items())
    return values


def written(value):
    return '-' if value == -1 else f'{value:.3f}'  # -1: there are no such objects


def difference(value, first):
    return '-' if -1 in (value, first) else f'{value - first:+.3f}'


def summary(names, evaluations):
    rows = [figures(evaluation) for evaluation in evaluations]
    table = [['', *rows[0]], *([name, *map(written, row.values())] for name, row in zip(names, rows))]
    for name, row in zip(names[1:], rows[1:]):
        table.append([f'{name} - {names[0]}', *(difference(row[key], rows[0][key]) for key in row)])
    return AsciiTable(table).table


def classes(names, evaluations, annotations, category_ids):
    """All precisions of each class for one file; AP, and the differences to the first file's, for several."""
    counts = dict.fromkeys(category_ids.values(), 0)
    for ann in annotations['annotations']:
        counts[category_ids[ann['category_id']]] += not ann['iscrowd']
    table = []
    numbers = {category['name']: category_ids[category['id']] for category in annotations['categories']}
    for name, number in numbers.items():
        first, *others = (figures(evaluation, number) for evaluation in evaluations)
        row = [name, counts[number], *map(written, first.values())]
        for other in others:
            row += [written(other['AP']), *(difference(other[key], first[key]) for key in other)]
        table.append(row)
    heading = ['class', 'objects', *first]
    for name in names[1:]:
        heading += [f'AP of {name}', *(f'{key} +-' for key in first)]
    return AsciiTable([heading, *table]).table


def main():
    args = parse_args()
    for path in (args.annotations, *args.results):
        if not Path(path).is_file():
            raise MissingFileError(f'{path} does not exist')

    from mmdet.datasets import read_coco_json
    from mmdet.evaluation.coco_evaluation import EVALUATORS, coco_index, evaluate_coco
    from mmdet.evaluation.prediction_file import read_detections
    annotations = read_coco_json(args.annotations)
    results = {path: read_detections(path, annotations, args.annotations) for path in args.results}
    names = [Path(path).name for path in results]
    if len(set(names)) < len(names):
        names = list(results)
    truth = coco_index(annotations, args.evaluator, args.annotations)
    evaluator = next(iter(EVALUATORS)) if args.evaluator == 'auto' else args.evaluator
    print(f'{len(annotations["images"])} images, {len(annotations["annotations"])} annotations; {evaluator}')
    for iou_type in types_to_evaluate(results, args.iou_type):
        counts = ', '.join(f'{len(detections)} of {name}' for name, detections in zip(names, results.values()))
        print(f'\n{iou_type}: results {counts}')
        evaluations = [evaluate_coco(truth, detections, iou_type) for detections in results.values()]
        print(summary(names, evaluations))
        if args.classwise:
            print(classes(names, evaluations, annotations, truth.category_ids))


if __name__ == '__main__':
    with plain_errors():
        main()
