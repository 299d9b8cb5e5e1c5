"""Tries an installation: a step of training, its checkpoint, detections. Half a minute on a CPU; needs no data.

    python -I tools/smoke_test.py      # -I: the mmdet that is installed, not the one in this folder

Ends with one line of figures, or with an error and exit status 1.
"""
import argparse
import platform
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from mmengine.config import Config

import mmdet
from mmdet import ops
from mmdet.apis import inference_detector, init_detector
from mmdet.datasets.shapes import make_shapes
from mmdet.engine import Runner
from mmdet.errors import UserError
from mmdet.utils import register_all_modules

CONFIG = '''_base_ = 'mmdet::demo/mask-rcnn_demo.py'
data_root = {root!r}
model = dict(test_cfg=dict(rcnn=dict(score_thr=0., max_per_img=5)))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
'''


def train(config, folder):
    """One step of the demo's Mask R-CNN on four pictures, and a test on two; returns the model."""
    cfg = Config.fromfile(config)
    cfg.work_dir = str(folder / 'work_dir')
    register_all_modules()
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.cpu()


def detect(config, folder, trained):
    """Load the checkpoint, compare its weights with the trained ones, detect on a picture; returns the number found."""
    model = init_detector(config, folder / 'work_dir/epoch_1.pth', device='cpu')
    for name, tensor in trained.state_dict().items():
        if not torch.equal(model.state_dict()[name], tensor):
            raise UserError(f'the checkpoint gave other values for {name}')
    found = inference_detector(model, sorted((folder / 'shapes/val').iterdir())[0]).pred_instances
    if len(found) == 0 or found.bboxes.shape != (len(found), 4) or found.masks.shape[0] != len(found):
        raise UserError(f'detections are not as they should be: {found}')
    return len(found)


def main():
    argparse.ArgumentParser(description=__doc__.partition('\n')[0]).parse_args()
    start = time.monotonic()
    if ops.backend() != 'mmdet':
        raise UserError(f'the compiled operators do not serve, but {ops.backend()}')
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_shapes(str(folder / 'shapes'), num_train=4, num_val=2)
        config = folder / 'config.py'
        config.write_text(CONFIG.format(root=f'{folder}/shapes/'))
        found = detect(config, folder, train(config, folder))
    print(f'ok: mmdet-norms {mmdet.__version__}, Python {platform.python_version()}, torch {torch.__version__}, '
          f'torchvision {torchvision.__version__}, {found} detections, {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
