"""A training of seconds."""
import pytest
from run_tool import ROOT

from mmdet.datasets.shapes import make_shapes

TINY = '''_base_ = {base!r}
data_root = {root!r}
model = dict(backbone=dict(base_channels=16), neck=dict(in_channels=[16, 32, 64, 128], out_channels=16),
             rpn_head=dict(in_channels=16, feat_channels=16),
             roi_head=dict(bbox_roi_extractor=dict(out_channels=16),
                           bbox_head=dict(in_channels=16, fc_out_channels=16),
                           mask_roi_extractor=dict(out_channels=16),
                           mask_head=dict(num_convs=1, in_channels=16, conv_out_channels=16)),
             test_cfg=dict(rcnn=dict(score_thr=0., max_per_img=5)))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, indices=8))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, indices=8))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=-1))
'''


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A config outside the repository whose training takes seconds, and the folder it lies in."""
    folder = tmp_path_factory.mktemp('elsewhere')
    make_shapes(str(folder / 'shapes'), num_train=8, num_val=8)
    text = TINY.format(base=str(ROOT / 'configs/demo/mask-rcnn_demo_256.py'), root=str(folder / 'shapes') + '/')
    (folder / 'tiny.py').write_text(text)
    return folder / 'tiny.py'
