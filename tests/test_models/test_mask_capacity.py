"""A mask head of fewer rows than there may be positives: what it learns, and what it tells of the others."""
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mask_rcnn import build, data, total
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from scene import small_scene

sys.path.append(str(Path(__file__).parents[1] / 'peer'))
from cases import model_config  # noqa: E402

from mmdet.engine.log_processor import LogProcessor  # noqa: E402
from mmdet.models.roi_heads import standard_roi_head  # noqa: E402
from mmdet.ops import select_rois  # noqa: E402
from mmdet.ops.roi_align import _draw  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402

FEW = {'train_cfg.rpn_proposal.max_per_img': 60, 'train_cfg.rcnn.sampler.num': 1000,
       'train_cfg.rcnn.sampler.pos_fraction': 1.}  # every proposal is sampled: chance decides nothing else


def detector(kind, capacity):
    if kind == 'cascade':
        cfg = model_config('cascade_mask')
        cfg.roi_head.update(num_stages=2, stage_loss_weights=[1, 0.5],
                            **{f'{name}_head': cfg.roi_head[f'{name}_head'][:2] for name in ('bbox', 'mask')
                               if isinstance(cfg.roi_head[f'{name}_head'], list)})
        cfg.train_cfg.rcnn = cfg.train_cfg.rcnn[:2]
        for stage in cfg.train_cfg.rcnn:
            stage.mask_capacity = capacity
        torch.manual_seed(0)
        return MODELS.build(cfg).train()
    return build(**FEW, **{'roi_head.mask_head.norm_cfg': dict(type='BN'), 'roi_head.mask_roi_extractor': None,
                           'train_cfg.rcnn.mask_capacity': capacity}).train()


def fixed_shapes(real, candidates, most=None):
    """select_rois as on a GPU."""
    if most is not None and most < len(candidates):
        candidates = _draw(real, candidates, most)
    return candidates, real[candidates]


def step(model):
    torch.manual_seed(1)
    model.zero_grad()
    result = model(**model.data_preprocessor(data(*small_scene()), True), mode='loss')
    total(result).backward()
    return {**{name: value.detach() for name, value in result.items()},
            **{name: p.grad for name, p in model.named_parameters() if p.requires_grad},
            **{name: value.clone() for name, value in model.named_buffers()}}


@pytest.mark.parametrize('kind', ['shared', 'cascade'])
def test_enough_of_it_changes_nothing(kind, monkeypatch):
    rounding = 1e-3 if kind == 'shared' else 2e-5  # BN sums in another order, and ReLUs follow it
    for rows, near in ((select_rois, 0), (fixed_shapes, rounding)):
        monkeypatch.setattr(standard_roi_head, 'select_rois', rows)
        expected = step(detector(kind, None))
        found = step(detector(kind, 30))
        left_out = [found.pop(name) for name in list(found) if name.endswith('masks_left_out')]
        assert left_out == [0] * (2 if kind == 'cascade' else 1)
        for name, value in found.items():
            scale = float(expected[name].abs().max().clamp(min=1e-3)) if value.numel() else 1.
            torch.testing.assert_close(value, expected[name], rtol=0, atol=near * scale, msg=name)
        assert found.keys() == expected.keys()


@pytest.mark.gpu
def test_the_device_learns_from_few_rows_what_the_cpu_does_from_all(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    expected, found = step(detector('cascade', None)), step(detector('cascade', 30).cuda())
    assert found['s0.masks_left_out'] == found['s1.masks_left_out'] == 0
    for name in ('s0.loss_mask', 's1.loss_mask', 's1.loss_cls'):
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=2e-3), name


def test_too_little_of_it_has_the_same_mean_and_tells_what_it_left_out(monkeypatch):
    model = detector('shared', None)
    head = model.roi_head
    batch = model.data_preprocessor(data(*small_scene()), True)
    features = [torch.randn(2, 32, 16 >> level, 20 >> level) for level in range(4)]
    proposals = batch['gt'].boxes + torch.randn(2, 6, 4) * 0.5
    valid = torch.ones(2, 6, dtype=torch.bool)
    torch.nn.init.normal_(head.mask_head.conv_logits.weight, std=0.3)  # masks differ
    for conv in head.mask_head.convs:
        conv.norm.eval()

    def losses():
        with torch.no_grad():
            found = head.loss(features, proposals, valid, batch['gt'], (64, 96))
        return float(found['loss_mask']), found.get('masks_left_out')
    expected, _ = losses()
    head.mask_capacity = 3
    for rows in (select_rois, fixed_shapes):
        monkeypatch.setattr(standard_roi_head, 'select_rois', rows)
        values, left_out = zip(*(losses() for _ in range(80)))
        values = torch.tensor(values)
        assert values.std() > 0.005 and abs(values.mean() - expected) < 4 * values.std() / 80 ** 0.5
        counts = {float(value) for value in left_out}
        assert len(counts) == 1 and counts.pop() > 10


def test_the_log_tells_the_mean_of_what_was_left_out():
    hub = MessageHub('capacity')
    for left_out in (12., 0.):
        of_step = {'loss_mask': torch.tensor(1.), 's0.masks_left_out': torch.tensor(left_out)}
        _, logged = BaseModel.parse_losses(None, of_step)
        for name, value in logged.items():
            hub.update_scalar(f'train/{name}', value)
    told = LogProcessor(window_size=2)._collect_scalars([], SimpleNamespace(message_hub=hub), 'train')
    assert told['loss'] == 1 and told['s0.masks_left_out'] == 6


def test_each_is_as_likely():
    torch.manual_seed(0)
    real = torch.zeros(40, dtype=torch.bool)
    real[5:35:3] = True
    for select in (select_rois, fixed_shapes):
        drawn = torch.stack([select(real, torch.arange(40), 4)[0] for _ in range(2000)])
        assert (drawn.diff() > 0).all() and real[drawn].all()
        counts = torch.bincount(drawn.flatten(), minlength=40)[real]
        assert (counts - 800).abs().max() < 4 * (2000 * 0.4 * 0.6) ** 0.5
    rows, is_real = fixed_shapes(real, torch.arange(40), 15)
    assert len(rows) == 15 and is_real.sum() == 10
    assert select_rois(real, torch.arange(40), 15)[0].tolist() == real.nonzero()[:, 0].tolist()
