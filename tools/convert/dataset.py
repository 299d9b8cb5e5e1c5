"""Converts annotations: python tools/convert/dataset.py IN [IN ...] OUT [options]

    python tools/convert/dataset.py VOC_FOLDER annotations/all.json
    python tools/convert/dataset.py YOLO_FOLDER LABELME_FOLDER all.json --split 0.8/0.1/0.1
    python tools/convert/dataset.py all.json YOLO_FOLDER --to yolo --images photos
    python tools/convert/dataset.py VOC_FOLDER --check

IN is a folder or file of Pascal VOC, YOLO, labelme, COCO (also CVAT's, Label Studio's and Roboflow's), VIA or
Cityscapes, or a folder of pictures without annotations. OUT is a JSON file in COCO's format or, with --to, a folder.
"""
from pathlib import Path

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import MissingFileError, UserError

FORMATS = ('voc', 'coco', 'labelme', 'via', 'cityscapes', 'yolo', 'pictures')
WRITERS = ('voc', 'coco', 'labelme', 'yolo')
VOC_CORNERS = ('minus-one', 'inclusive', 'as-written')


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('paths', metavar='IN ... OUT', nargs='+', type=Path, help='with --check there is no OUT')
    parser.add_argument('--from', dest='kind', choices=FORMATS, help='format of IN; default: found by its files')
    parser.add_argument('--to', choices=WRITERS, default='coco', help='format of OUT; default: coco')
    parser.add_argument('--images', help='folder of the pictures, where it is not in or beside IN')
    parser.add_argument('--classes', help='names in their order, with commas between, or a file of one a line: the '
                                          'classes that are kept, or those of a source that names none')
    parser.add_argument('--split', help='shares of train/val/test such as 0.8/0.1/0.1, alike in their classes; or own, '
                                        'the splits that IN has. A JSON file becomes OUT_train.json, ...')
    parser.add_argument('--group-by', metavar='REGEX', help='pictures for which it finds the same in their path stay '
                                                            'in one split, e.g. "patient(\\d+)"')
    parser.add_argument('--seed', type=int, default=0, help='of --split')
    parser.add_argument('--check', action='store_true', help='only report what is odd')
    parser.add_argument('--skip-broken', action='store_true', help='leave out entries that cannot be used')
    parser.add_argument('--force', action='store_true', help='replace what is at OUT')
    parser.add_argument('--voc-corners', choices=VOC_CORNERS, default='minus-one',
                        help='VOC counts pixels from 1: subtract 1 from all corners, as mmdetection does; from xmin '
                             'and ymin alone (inclusive: xmax is the last pixel); or from none')
    parser.add_argument('--class-attribute', help="which attribute of VIA's regions is the class")
    args = parser.parse_args()
    if not args.check and len(args.paths) < 2:
        parser.error('give IN and OUT, or --check')
    return args


def class_list(text):
    if text is None:
        return None
    lines = Path(text).read_text(encoding='utf-8-sig').splitlines() if Path(text).is_file() else text.split(',')
    return [name.strip() for name in lines if name.strip()]


def write(collection, out, args, options, sources):
    """Write all, one file a split where they are asked for; returns what was written."""
    from mmdet.datasets import formats
    from mmdet.datasets.formats.output import refuse_existing
    from mmdet.datasets.formats.records import Collection
    if args.to != 'coco' or not args.split:
        parts = {out: collection}
    else:
        names = dict.fromkeys(picture.split for picture in collection.pictures)
        parts = {out.with_name(f'{out.stem}_{name}{out.suffix}' if name else out.name): Collection(
            [picture for picture in collection.pictures if picture.split == name], collection.classes,
            collection.categories, root=collection.folder()) for name in sorted(names)}
    for path in parts:
        refuse_existing(path, args.force, sources)
    for path, part in parts.items():
        formats.WRITERS[args.to](part, path, options)
    return parts


def main():
    args = parse_args()
    sources = args.paths if args.check else args.paths[:-1]
    out = args.paths[-1]
    if not args.check and args.to == 'coco' and out.suffix != '.json':
        raise UserError(f'{out} must end with .json; for a folder give --to with its format: {", ".join(WRITERS)}')
    for source in sources:
        if not source.exists():
            raise MissingFileError(f'{source} does not exist')

    from mmdet.datasets.formats import Options, read_source
    from mmdet.datasets.formats.checks import odd_things, report
    from mmdet.datasets.formats.records import merge
    from mmdet.datasets.formats.split import parse_shares, split
    from mmdet.datasets.formats.tree import Tree
    shares = parse_shares(args.split) if args.split not in (None, 'own') else None
    options = Options(class_list(args.classes), args.voc_corners, args.class_attribute)
    collection = merge([read_source(Tree(source, args.images), args.kind, options) for source in sources])
    if shares:
        split(collection, shares, args.group_by, args.seed)
    if args.check:
        print(report(collection, odd_things(collection)))
        return
    if collection.broken and not args.skip_broken:
        more = len(collection.broken) - 1
        raise UserError(collection.broken[0] + f'\n{more} more such entries.' * bool(more)
                        + ' --check lists all, --skip-broken leaves them out')
    parts = write(collection, out, args, options, sources)
    collection.remarks += [f'left out: {entry}' for entry in collection.broken]
    print('\n'.join(dict.fromkeys(collection.remarks)))
    print(f'classes: {", ".join(collection.classes)}')
    for path, part in parts.items():
        print(f'{path}: {len(part.pictures)} pictures, {sum(len(p.objects) for p in part.pictures)} objects')
    if args.to == 'coco':
        for folder in dict.fromkeys(part.folder() for part in parts.values()):
            print(f'file names are relative to {folder}: data_prefix=dict(img={str(folder) + "/"!r})')


if __name__ == '__main__':
    with plain_errors():
        main()
