"""A small Mask R-CNN on generated shapes. As a script: shapes_run.py WORK_DIR resume=BOOL kind=KIND, of KINDS."""
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / 'tests/test_tools'), str(ROOT / 'tests')]

from conftest import TINY  # noqa: E402

from mmdet.datasets.shapes import make_shapes  # noqa: E402
from mmdet.engine import Runner  # noqa: E402
from mmdet.engine.config import read_config  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='Resize', scale=(96, 96), keep_ratio=False)]
KINDS = dict(
    stopping="""
train_cfg = dict(max_epochs=5, val_interval=1)
val_cfg = dict(loss=True)
custom_hooks = [dict(type='EarlyStoppingHook', monitor='val_loss', rule='less', min_delta=100., patience=3)]
train_dataloader.update(sampler=dict(_delete_=True, type='ClassAwareSampler'))
""",
    mixing=f"""
train_dataloader.update(num_workers=2, dataset=dict(
    _delete_=True, type='MultiImageMixDataset',
    dataset=dict(type='ShapesDataset', data_root=data_root, ann_file='annotations/train.json',
                 data_prefix=dict(img='train/'), pipeline={LOAD}),
    pipeline=[dict(type='CopyPaste', max_num_pasted=3, bbox_occluded_thr=1, mask_occluded_thr=1),
              dict(type='Mosaic', img_scale=(64, 64)), dict(type='MixUp', img_scale=(64, 64)),
              dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
default_hooks.update(checkpoint=dict(interval=1, by_epoch=False, max_keep_ckpts=2))
""")


def train(work_dir, kind, resume):
    folder = work_dir.parent
    if not (folder / 'shapes').exists():
        make_shapes(str(folder / 'shapes'), num_train=16, num_val=4)
    path = folder / 'tiny.py'
    path.write_text(TINY.format(base=str(ROOT / 'configs/demo/mask-rcnn_demo_256.py'), root=f'{folder}/shapes/')
                    + KINDS[kind])
    cfg = read_config(str(path), {})
    cfg.work_dir, cfg.resume, cfg.experiment_name = str(work_dir), resume, work_dir.name
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    torch.set_num_threads(1)
    register_all_modules()
    options = dict(word.split('=', 1) for word in sys.argv[2:])
    train(Path(sys.argv[1]), options['kind'], options['resume'] == 'True')
