"""Fuses detections of several models: python tools/analysis/fuse_results.py RESULT RESULT ... --annotation TRUTH.json

Weighted boxes fusion (arXiv 1910.13302) of boxes; prints COCO's figures. RESULTs are what test.py --out wrote, .json or
.pkl. --save-fusion-results writes OUT_DIR/fusion_results.json.
"""
import json
from pathlib import Path

from mmdet.command_line import InputFiles, ToolParser, plain_errors
from mmdet.errors import UserError

KINDS = 'avg', 'max', 'box_and_model_avg', 'absent_model_aware_avg'


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('results', nargs='+', action=InputFiles, metavar='RESULT', help='predictions, .json or .pkl')
    parser.add_argument('--annotation', action=InputFiles, required=True, help='ground truth, COCO JSON')
    parser.add_argument('--weights', type=float, nargs='*', help='one for each RESULT; default: 1 each')
    parser.add_argument('--fusion-iou-thr', type=float, default=0.55, help='IoU of boxes that are one')
    parser.add_argument('--skip-box-thr', type=float, default=0., help='leave out boxes below this score')
    parser.add_argument('--conf-type', choices=KINDS, default='avg', help='score of a fused box')
    parser.add_argument('--eval-single', action='store_true', help='also the figures of each RESULT')
    parser.add_argument('--save-fusion-results', action='store_true', help='write the fused boxes')
    parser.add_argument('--out-dir', type=Path, default=Path('outputs'), help='folder to write to')
    args = parser.parse_args()
    if not args.weights:
        args.weights = [1.] * len(args.results)
    if len(args.weights) != len(args.results) or min(args.weights) <= 0:
        raise UserError(f'--weights {args.weights}: give a positive weight for each of {len(args.results)} files')
    return args


def fused(results, args):
    """COCO result dicts of all images, from those of each model."""
    import numpy as np

    from mmdet.evaluation.box_fusion import fuse_boxes
    by_image = {}
    for model, detections in enumerate(results):
        for d in detections:
            x, y, width, height = d['bbox']
            by_image.setdefault(d['image_id'], []).append(
                (x, y, x + width, y + height, d['score'], model, d['category_id']))
    ids = {category: i for i, category in enumerate(dict.fromkeys(row[-1] for rows in by_image.values()
                                                                  for row in rows))}
    names = list(ids)
    for image, rows in by_image.items():
        columns = np.array([(*row[:-1], ids[row[-1]]) for row in rows], np.float64)
        boxes, scores, labels = fuse_boxes(
            columns[:, :4], columns[:, 4], columns[:, 6].astype(int), columns[:, 5].astype(int), args.weights,
            args.fusion_iou_thr, args.skip_box_thr, args.conf_type)
        for (x1, y1, x2, y2), score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist()):
            yield dict(image_id=image, category_id=names[label], bbox=[x1, y1, x2 - x1, y2 - y1], score=score)


def main():
    args = parse_args()

    from terminaltables import AsciiTable

    from mmdet.datasets import read_coco_json
    from mmdet.evaluation.coco_evaluation import average_precision, coco_index, evaluate_coco
    from mmdet.evaluation.prediction_file import read_detections
    annotations = read_coco_json(args.annotation)
    results = [read_detections(path, annotations, args.annotation) for path in args.results]
    for path, detections in zip(args.results, results):
        if 'bbox' not in detections[0]:
            raise UserError(f'{path} holds masks alone: boxes are fused')
    together = list(fused(results, args))
    if args.save_fusion_results:
        args.out_dir.mkdir(parents=True, exist_ok=True)
        (args.out_dir / 'fusion_results.json').write_text(json.dumps(together))
        print(f'written to {args.out_dir / "fusion_results.json"}')
    truth = coco_index(annotations, source=args.annotation)
    figures = dict(AP={}, AP50=dict(iou=.5), AP75=dict(iou=.75), APs=dict(area='_s'), APm=dict(area='_m'),
                   APl=dict(area='_l'))
    table = [['', *figures]]
    for name, detections in [*(zip(args.results, results) if args.eval_single else ()), ('fused', together)]:
        evaluation = evaluate_coco(truth, detections, 'bbox')
        table.append([name, *(f'{average_precision(evaluation, **options):.3f}' for options in figures.values())])
    print(AsciiTable(table).table)


if __name__ == '__main__':
    with plain_errors():
        main()
