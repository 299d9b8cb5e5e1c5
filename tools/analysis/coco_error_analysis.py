"""Where precision is lost: python tools/analysis/coco_error_analysis.py RESULT OUT_DIR --ann ANNOTATIONS.json

Prints the area under precision by recall at IoU 0.75 and 0.5 (C75, C50), at 0.1 (Loc), without confusion with
similar classes (Sim), with any (Oth), without detections of nothing (BG) and without missed objects (FN), and draws the
curves of every class and of all (OUT_DIR/bbox/bbox-allclass-allarea.png ...). RESULT is what test.py --out wrote.
"""
from pathlib import Path

from mmdet.command_line import InputFiles, ToolParser, plain_errors
from mmdet.errors import UserError

COLORS = 'white', '#4f82bd', '#bf4f4c', '#5ce661', '#8064a2', '#ff9900'
AREAS = 'allarea', 'small', 'medium', 'large'


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('result', action=InputFiles, help='predictions, .json or .pkl')
    parser.add_argument('out_dir', type=Path, help='folder of the pictures')
    parser.add_argument('--ann', action=InputFiles, default='data/coco/annotations/instances_val2017.json',
                        help='ground truth')
    parser.add_argument('--types', nargs='+', choices=['bbox', 'segm'], default=['bbox'], help='what to analyse')
    parser.add_argument('--extraplots', action='store_true', help='also bars by size, and sizes of the objects')
    parser.add_argument('--score-thr', type=float, help='leave out detections below this score')
    parser.add_argument('--areas', type=int, nargs=3, default=[1024, 9216, 10000000000], metavar='PIXELS',
                        help='most pixels of small, medium and large objects')
    return parser.parse_args()


def curves(precisions, title, path):
    """Curves of (7, 101 recalls), the kinds of errors filled between them."""
    import numpy as np

    from mmdet.evaluation.coco_error_analysis import STEPS
    from mmdet.report.plots import save
    recall = np.linspace(0, 1, 101)

    def draw(axes):
        below = np.zeros(101)
        for name, color, values in zip(STEPS, (COLORS[0], *COLORS), precisions):
            axes.plot(recall, values, color='black', linewidth=0.5)
            axes.fill_between(recall, below, values, color=color, label=f'[{values.mean():.3f}] {name}',
                              edgecolor='black', linewidth=0.3)
            below = values
        axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1), title=title)
        axes.legend(frameon=True)
    save(draw, path)


def bars(precisions, title, path):
    """Areas under the curves of (7, 101 recalls, 4 sizes), but for FN, which is 1."""
    from mmdet.evaluation.coco_error_analysis import STEPS
    from mmdet.report.plots import COLORS, save

    def draw(axes):
        for i, name in enumerate(STEPS[:-1]):
            places = [size + 0.13 * (i - 2.5) for size in range(4)]
            shown = axes.bar(places, precisions[i].mean(axis=0), 0.12, label=name, color=COLORS[i])
            axes.bar_label(shown, fmt=lambda value: f'{value * 100:.0f}', fontsize=7)
        axes.set_xticks(range(4), AREAS)
        axes.set(ylabel='area under the curve', title=title, ylim=(0, 1.05))
        axes.legend(ncols=3)
    save(draw, path)


def sizes(annotations, limits, folder):
    import numpy as np

    from mmdet.report.plots import save
    areas = np.array([ann['area'] for ann in annotations['annotations'] if not ann['iscrowd']])
    ranges = [(0, limits[2]), (0, limits[0]), (limits[0], limits[1]), (limits[1], limits[2])]
    counts = [int(((areas >= low) & (areas <= high)).sum()) for low, high in ranges]
    save(lambda axes: axes.bar_label(axes.bar(AREAS, counts)), folder / 'number of annotations per area group.png')
    save(lambda axes: (axes.hist(np.sqrt(areas), 100), axes.set(xlabel='square root of the area')),
         folder / 'gt annotation areas histogram plot.png')


def main():
    args = parse_args()
    if sorted(args.areas) != args.areas:
        raise UserError(f'--areas {" ".join(map(str, args.areas))}: the three must rise')

    from terminaltables import AsciiTable

    from mmdet.datasets import read_coco_json
    from mmdet.evaluation.coco_error_analysis import STEPS, error_precisions, with_supercategories
    from mmdet.evaluation.prediction_file import read_detections
    from mmdet.evaluation.results import iou_types
    from mmdet.named_files import existing_inputs
    annotations = with_supercategories(read_coco_json(existing_inputs(args.ann)), args.ann)
    detections = read_detections(args.result, annotations, args.ann)
    detections = [d for d in detections if args.score_thr is None or d['score'] >= args.score_thr]
    names = list(dict.fromkeys(category['name'] for category in annotations['categories']))
    for iou_type in args.types:
        if iou_type not in iou_types(detections):
            raise UserError(f'{args.result} holds no {iou_type} of the scores asked for')
        precisions = error_precisions(annotations, detections, iou_type, args.areas)
        folder = args.out_dir / iou_type
        folder.mkdir(parents=True, exist_ok=True)
        parts = {name: precisions[:, :, k] for k, name in enumerate(names)} | {'allclass': precisions.mean(axis=2)}
        rows = [[name, *(f'{value:.3f}' for value in part[..., 0].mean(axis=1))] for name, part in parts.items()]
        print(f'{iou_type}, area under precision by recall\n{AsciiTable([["", *STEPS], *rows]).table}')
        for name, part in parts.items():
            file_name = name.replace('/', '_')
            for i, area in enumerate(AREAS):
                curves(part[..., i], f'{iou_type}-{name}-{area}', folder / f'{iou_type}-{file_name}-{area}.png')
            if args.extraplots:
                bars(part, f'{iou_type}-{name}-ap bar plot', folder / f'{iou_type}-{file_name}-ap bar plot.png')
        if args.extraplots:
            sizes(annotations, args.areas, folder)
        print(f'written to {folder}')


if __name__ == '__main__':
    with plain_errors():
        main()
