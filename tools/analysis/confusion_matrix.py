"""Counts which classes are taken for which: python tools/analysis/confusion_matrix.py CONFIG PREDICTIONS SAVE_DIR

Writes confusion_matrix.png, each row in percents, and confusion_matrix.csv, the counts. Rows are true classes and,
last, the background; columns are predicted classes and, last, missed objects. As in mmdetection a detection counts for
every object that it covers, and crowds are objects. PREDICTIONS is what test.py --out wrote, .pkl or .json.
"""
import csv
from pathlib import Path

from mmdet.command_line import InputFiles, ToolParser, add_config, add_config_options, plain_errors


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('prediction_path', action=InputFiles, help='predictions, .pkl or .json')
    parser.add_argument('save_dir', type=Path, help='folder to write to')
    parser.add_argument('--show', action='store_true', help='show the picture in a window')
    parser.add_argument('--color-theme', default='plasma', help="matplotlib's color map")
    parser.add_argument('--score-thr', type=float, default=0.3, help='least score of a detection')
    parser.add_argument('--tp-iou-thr', type=float, default=0.5, help='IoU that covers an object')
    parser.add_argument('--nms-iou-thr', type=float, help='first suppress detections of a class beyond this IoU')
    add_config_options(parser)
    return parser.parse_args()


def suppressed(prediction, iou_thr):
    from mmdet.ops.nms import batched_nms
    found = prediction['pred_instances']
    kept = batched_nms(found['bboxes'].float(), found['scores'].float(), found['labels'], iou_thr)
    return {**prediction, 'pred_instances': {key: found[key][kept] for key in ('bboxes', 'scores', 'labels')}}


def main():
    args = parse_args()

    import matplotlib

    from mmdet.apis.tested_data import tested
    from mmdet.errors import UserError
    from mmdet.evaluation.result_file import evaluated_predictions
    from mmdet.report.analysis import confusion
    from mmdet.report.plots import confusion_side, draw_confusion, save
    if args.color_theme not in matplotlib.colormaps:
        raise UserError(f'--color-theme {args.color_theme}: matplotlib has no color map of this name')
    _, dataset, predictions = tested(args.config, args.prediction_path, args.cfg_options)
    if args.nms_iou_thr is not None:
        predictions = [suppressed(prediction, args.nms_iou_thr) for prediction in predictions]
    table = confusion(evaluated_predictions(dataset, predictions), args.score_thr, args.tp_iou_thr, crowds=True)
    classes = list(dataset.metainfo['classes'])
    args.save_dir.mkdir(parents=True, exist_ok=True)
    with open(args.save_dir / 'confusion_matrix.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['', *classes, 'missed'], *([name, *row] for name, row in zip(
            [*classes, 'background'], table.tolist()))])
    side = confusion_side(table)
    picture = args.save_dir / 'confusion_matrix.png'
    save(lambda axes: draw_confusion(axes, table, classes, args.color_theme, percent=True), picture, side + 0.9, side,
         dpi=180)
    print(f'written to {picture}')
    if args.show:
        import cv2
        cv2.imshow('confusion matrix', cv2.imread(str(picture)))
        cv2.waitKey(0)


if __name__ == '__main__':
    with plain_errors():
        main()
