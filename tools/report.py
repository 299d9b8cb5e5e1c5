"""Draws a training, or detections, as one HTML page: python tools/report.py WORK_DIR [OTHERS ...] [--out FILE.html]

    python tools/report.py work_dirs/demo
    python tools/report.py work_dirs/gn work_dirs/cbn --out compared.html
    python tools/report.py --annotations val.json --results found.bbox.json --images photos --out found.html

A training writes WORK_DIR/report.html by itself. Of several work dirs the page compares losses, AP and configs.
"""
from pathlib import Path

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import MissingFileError, UserError


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('work_dirs', nargs='*', metavar='WORK_DIR', type=Path, help='of a training; several: compared')
    parser.add_argument('--annotations', type=Path, help='ground truth of --results, COCO JSON')
    parser.add_argument('--results', type=Path, help='detections, COCO results JSON or a pickle of test.py --out')
    parser.add_argument('--images', type=Path, help='folder of the pictures of --annotations')
    parser.add_argument('--out', type=Path, help='file to write (WORK_DIR/report.html; report.html)')
    args = parser.parse_args()
    if (args.annotations is None) != (args.results is None) or not (args.work_dirs or args.results):
        parser.error('give work dirs, or --annotations and --results, or both')
    for path in (*args.work_dirs, args.annotations, args.results, args.images):
        if path is not None and not path.exists():
            raise MissingFileError(f'{path} does not exist')
    if args.out is not None and args.out.suffix != '.html':
        raise UserError(f'--out {args.out}: the name must end in .html')
    return args


def main():
    args = parse_args()

    import mmdet.engine  # noqa: F401  # first: it puts off slow imports that nothing here needs
    from mmdet.report import Run
    from mmdet.report.page import write_report
    runs = [Run.open(folder) for folder in args.work_dirs]
    evaluated = None
    if args.results is not None:
        from mmdet.evaluation.result_file import evaluated_file
        evaluated = evaluated_file(args.annotations, args.results, args.images)
    out = args.out or (args.work_dirs[0] if args.work_dirs else Path('report.html'))
    title = '' if runs else args.results.name
    print(f'written to {write_report(out, runs, evaluated, title)}')


if __name__ == '__main__':
    with plain_errors():
        main()
