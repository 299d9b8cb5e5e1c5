"""A detector whose random weights find something, for tests of what is done with detections."""
import torch
from mmengine.config import Config

from mmdet.apis import init_detector

CLASSES = ('a', 'b', 'c', 'd', 'e')


def write_detector(folder, demo):
    """Write net.py and net.pth into the folder."""
    cfg = Config.fromfile(demo)
    cfg.merge_from_dict({'model.backbone.base_channels': 16, 'model.neck.in_channels': [16, 32, 64, 128],
                         'model.test_cfg.rcnn.score_thr': 0., 'model.test_cfg.rcnn.max_per_img': 4,
                         'model.test_cfg.rcnn.mask_thr_binary': 0.3,
                         'test_dataloader.dataset.pipeline.1.scale': (128, 128)})
    cfg.dump(folder / 'net.py')
    torch.manual_seed(0)
    model = init_detector(folder / 'net.py', device='cpu')
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES, palette=[(1, 2, 3)] * 5))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'net.pth')
