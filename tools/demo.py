"""Trains a small Mask R-CNN on generated shapes, tests it, and draws what it finds: python tools/demo.py."""
import time
from pathlib import Path

from mmdet.command_line import ToolParser, add_config_options, plain_errors

CONFIG = Path(__file__).parents[1] / 'configs/demo/mask-rcnn_demo.py'
PICTURES = 12
ENLARGE = 3  # the images are small: enlarged, their labels cover less of them


def draw(model, dataset, folder):
    """Write pictures of the first images of `dataset`, truth on the left and predictions on the right."""
    import cv2
    import numpy as np
    import torch
    from mmengine.dataset import pseudo_collate

    from mmdet.visualization import DetLocalVisualizer
    model.eval()
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(min(PICTURES, len(dataset))):
        sample = model.test_step(pseudo_collate([dataset[index]]))[0].cpu()
        for instances in (sample.gt_instances, sample.pred_instances):
            masks = instances.pop('masks')
            masks = masks.to_tensor(torch.float32, 'cpu')
            masks = torch.nn.functional.interpolate(masks[:, None], scale_factor=ENLARGE, mode='bilinear')[:, 0]
            instances.masks = masks > 0.5
            instances.bboxes *= ENLARGE
        image = cv2.imread(sample.img_path)[..., ::-1]
        image = cv2.resize(np.ascontiguousarray(image), None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
        visualizer.add_datasample('', image, sample, out_file=str(folder / Path(sample.img_path).name),
                                  pred_score_thr=0.5)


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'),
                        help='gets logs, checkpoints, pictures')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint of the work dir')
    add_config_options(parser)
    args = parser.parse_args()

    from terminaltables import AsciiTable

    from mmdet.engine import Runner
    from mmdet.engine.config import read_config
    from mmdet.report import Run
    from mmdet.utils import register_all_modules
    cfg = read_config(str(CONFIG), args.cfg_options)
    cfg.work_dir, cfg.resume = str(args.work_dir), args.resume
    register_all_modules()

    start = time.monotonic()
    runner = Runner.from_cfg(cfg)
    runner.train()
    minutes = (time.monotonic() - start) / 60
    dataset = runner.val_dataloader.dataset
    draw(runner.model, dataset, args.work_dir / 'pictures')
    metrics = Run.open(args.work_dir).validations[-1]

    rows = [['', 'AP', 'AP50', 'AP75']]
    for name, metric in (('box', 'bbox'), ('mask', 'segm')):
        rows.append([name] + [f'{metrics[f"coco/{metric}_{key}"]:.3f}' for key in ('mAP', 'mAP_50', 'mAP_75')])
    print(f'\nTrained in {minutes:.1f} minutes. On {len(dataset)} images it has never seen:')
    print(AsciiTable(rows).table)
    print(f'Checkpoint: {(args.work_dir / "last_checkpoint").read_text()}')
    print(f'Pictures, ground truth left and predictions right: {args.work_dir / "pictures"}')
    print(f'The report of the training: {args.work_dir / "report.html"}')


if __name__ == '__main__':
    with plain_errors():
        main()
