"""Shows what a data set hands to the model, after every transform: python tools/browse_dataset.py CONFIG [options]

    python tools/browse_dataset.py CONFIG --page browse.html --num 40
    python tools/browse_dataset.py CONFIG --output-dir pictures --not-show
"""
import os
from pathlib import Path

import numpy as np

from mmdet.command_line import ToolParser, add_config, add_config_options, plain_errors
from mmdet.errors import UserError

IGNORED = (128, 128, 128)


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--output-dir', '--show-dir', dest='output_dir', type=Path, help='write each picture here')
    parser.add_argument('--page', type=Path, help='write one HTML page of all pictures')
    parser.add_argument('--not-show', action='store_true', help='open no window; so it is without a display')
    parser.add_argument('--show-interval', type=float, default=2, help='seconds that a picture is shown')
    parser.add_argument('--num', type=int, default=100, help='so many pictures, spread over the data set; 0: all')
    parser.add_argument('--loader', choices=['train', 'val', 'test'], default='train', help='whose data set')
    parser.add_argument('--seed', type=int, default=0, help='decides what transforms draw by chance')
    add_config_options(parser)
    return parser.parse_args()


def describe(sample, instances, ignored):
    """What stands below a picture."""
    meta = sample.metainfo
    size, original = meta.get('img_shape'), meta.get('ori_shape')
    lines = [Path(str(meta.get('img_path') or meta.get('img_id', ''))).name,
             f'{len(instances)} objects' + f', {len(ignored)} ignored' * bool(len(ignored))]
    if size and original:
        lines.append(f'{original[1]} x {original[0]} to {size[1]} x {size[0]}')
    if meta.get('flip'):
        lines[-1] += f', flip {meta.get("flip_direction")}'
    return '\n'.join(lines)


def draw(visualizer, item):
    """The RGB picture of what a data set gives, with its objects, those that are ignored gray; and its caption."""
    from mmengine.structures import InstanceData
    pixels = item['inputs'].permute(1, 2, 0).numpy()
    pixels = np.ascontiguousarray(pixels[..., [2, 1, 0]] if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))
    sample = item['data_samples']
    instances, ignored = sample.get('gt_instances', InstanceData()), sample.get('ignored_instances', InstanceData())
    image = visualizer.draw_instances(pixels.clip(0, 255).astype(np.uint8), instances)
    visualizer.bbox_color = visualizer.mask_color = IGNORED
    image = visualizer.draw_instances(image, ignored)
    visualizer.bbox_color = visualizer.mask_color = None
    return image, describe(sample, instances, ignored)


def main():
    args = parse_args()

    import cv2

    from mmdet.datasets.classes import settle_metainfo
    from mmdet.engine.check_config import check_config
    from mmdet.engine.config import read_config
    from mmdet.engine.seeded_batches import seed_generators
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules
    from mmdet.visualization import DetLocalVisualizer
    from mmdet.visualization.page import Page
    cfg = read_config(args.config, args.cfg_options)
    register_all_modules()
    check_config(cfg)
    loader = cfg.get(f'{args.loader}_dataloader')
    if not loader:
        raise UserError(f'config {args.config} has no {args.loader}_dataloader: choose another with --loader')
    dataset = DATASETS.build(loader['dataset'])
    dataset.full_init()
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = settle_metainfo(dataset)
    shown = not args.not_show and bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))
    if not shown and args.output_dir is None and args.page is None:
        args.page = Path('browse.html')
        print('there is no display, or --not-show is given: the pictures go to browse.html')
    number = len(dataset) if args.num <= 0 else min(args.num, len(dataset))
    title = f'{args.config}, {args.loader}: {number} of {len(dataset)} pictures'
    page = Page(args.page, title, 'Classes: ' + ', '.join(visualizer.dataset_meta.get('classes', ()))) \
        if args.page else None
    for place, index in enumerate(np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist()):
        seed_generators((args.seed, 0, index))
        image, caption = draw(visualizer, dataset[index])
        if page is not None:
            page.add(image, caption)
        if args.output_dir is not None:
            args.output_dir.mkdir(parents=True, exist_ok=True)
            name = f'{place:05d}_{Path(caption.partition(chr(10))[0]).stem}.jpg'  # one picture may be there twice
            cv2.imwrite(str(args.output_dir / name), image[..., ::-1])
        if shown:
            visualizer.show(image, win_name=caption.partition('\n')[0], wait_time=args.show_interval)
    if page is not None:
        page.close()
    print('; written to '.join([title, *(str(path) for path in (args.page, args.output_dir) if path)]))


if __name__ == '__main__':
    with plain_errors():
        main()
