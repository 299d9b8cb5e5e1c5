"""Times the data pipeline of a config, transform by transform: python tools/analysis/benchmark_data.py [CONFIG]

The pictures are generated and of COCO's size (640 x 480 JPEG, polygons); --ann-file and --images name your own. It runs
in one process and one thread, as in a loader's worker, so images a second are those of one core.
"""
import copy
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
from timing import machine, markdown

from mmdet.command_line import ToolParser, plain_errors
from mmdet.datasets.shapes import make_shapes
from mmdet.engine.config import read_config
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.utils import register_all_modules

CONFIG = Path(__file__).parents[2] / 'configs/mask_rcnn/mask_rcnn_r50_fpn_1x.py'


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', default=str(CONFIG), help='whose training pipeline')
    parser.add_argument('--ann-file', help='COCO annotations in place of the generated ones')
    parser.add_argument('--images', default='', help='folder of their pictures')
    parser.add_argument('--count', type=int, default=32, help='pictures to load')
    parser.add_argument('--repeats', type=int, default=5, help='times to measure')
    return parser.parse_args()


def photographs(folder, count):
    """Generated pictures enlarged to 640 x 480 in `folder`; the path of their annotations."""
    make_shapes(str(folder / 'small'), num_train=count, num_val=1)
    annotations = json.loads((folder / 'small/annotations/train.json').read_text())
    for image in annotations['images']:
        picture = cv2.imread(str(folder / 'small/train' / image['file_name']))
        size = (640, 480) if image['width'] >= image['height'] else (480, 640)
        zoom = [new / old for new, old in zip(size, (image['width'], image['height']), strict=True)]
        image['width'], image['height'] = size
        image['file_name'] = Path(image['file_name']).with_suffix('.jpg').name
        cv2.imwrite(str(folder / image['file_name']), cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))
        for ann in annotations['annotations']:
            if ann['image_id'] == image['id'] and isinstance(ann['segmentation'], list):
                ann['bbox'] = [value * zoom[i % 2] for i, value in enumerate(ann['bbox'])]
                ann['segmentation'] = [[value * zoom[i % 2] for i, value in enumerate(polygon)]
                                       for polygon in ann['segmentation']]
    annotations['annotations'] = [ann for ann in annotations['annotations'] if isinstance(ann['segmentation'], list)]
    path = folder / 'instances.json'
    path.write_text(json.dumps(annotations))
    return str(path)


def time_pipeline(dataset, transforms, args):
    """Median milliseconds an image of each transform."""
    times = [[] for _ in transforms]
    for _ in range(args.repeats + 1):
        totals = [0.] * len(transforms)
        for index in range(len(dataset)):
            results = copy.deepcopy(dataset.get_data_info(index))
            for i, transform in enumerate(transforms):
                start = time.perf_counter()
                results = transform(results)
                totals[i] += time.perf_counter() - start
        for spent, total in zip(times, totals, strict=True):
            spent.append(total / len(dataset) * 1000)
    return [statistics.median(spent[1:]) for spent in times]  # the first round fills the file cache


def main():
    args = parse_args()
    register_all_modules()
    cv2.setNumThreads(0)
    cfg = read_config(args.config)
    with tempfile.TemporaryDirectory() as folder:
        ann_file = args.ann_file or photographs(Path(folder), args.count)
        dataset = DATASETS.build(dict(
            type='CocoDataset', ann_file=ann_file, data_prefix=dict(img=args.images if args.ann_file else folder),
            filter_cfg=dict(filter_empty_gt=True), pipeline=[], indices=args.count))
        source = cfg.train_dataloader.dataset
        while 'pipeline' not in source:
            source = source.dataset
        transforms = [TRANSFORMS.build(transform) for transform in source.pipeline]
        times = time_pipeline(dataset, transforms, args)
        count = len(dataset)
    lines = [[type(transform).__name__, f'{spent:.2f}', f'{spent / sum(times):.0%}']
             for transform, spent in zip(transforms, times, strict=True)]
    lines.append(['all', f'{sum(times):.2f}', f'{1000 / sum(times):.0f} images a second'])
    print(f'{machine()}\n{count} images\n\n{markdown(lines, ["transform", "ms an image", "share"])}')


if __name__ == '__main__':
    with plain_errors():
        main()
