"""Every part of docs/own in one training, and docs/own.md, which shows them."""
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdet.engine import Runner
from mmdet.engine.config import read_config
from mmdet.utils import register_all_modules

DOCS = Path(__file__).parents[1] / 'docs'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The runner of the training of docs/own/config.py."""
    folder = tmp_path_factory.mktemp('own')
    sys.path.insert(0, str(DOCS))
    try:
        from own.draw import draw
        draw(folder / 'csv')
        cfg = read_config(str(DOCS / 'own/config.py'), {
            f'{loader}.dataset.data_root': f'{folder}/csv/' for loader in ('train_dataloader', 'val_dataloader')})
        cfg.work_dir, cfg.launcher, cfg.default_hooks.report = str(folder / 'work'), 'none', None
        register_all_modules()
        runner = Runner.from_cfg(cfg)
        runner.train()
    finally:
        sys.path.remove(str(DOCS))
    yield runner, Path(cfg.work_dir)


def test_every_part_is_used(run, subtests):
    runner, work_dir = run
    log = next(work_dir.rglob('*.log')).read_text()
    scalars = runner.message_hub.log_scalars
    samples = [runner.train_dataloader.dataset[i] for i in range(4)]
    with subtests.test('dataset'):
        assert len(samples) == 4 and samples[0]['data_samples'].gt_instances.labels.tolist() == [0, 1]
    with subtests.test('transform'):
        grey = [sample['inputs'][0, 0, 0].item() for sample in samples]
        assert len(set(grey)) > 1 and all(60 < value < 195 for value in grey)
    with subtests.test('backbone, neck'):
        assert [tuple(x.shape) for x in runner.model.extract_feat(torch.zeros(1, 3, 96, 128))] == [
            (1, 32, 24, 32), (1, 32, 12, 16), (1, 32, 6, 8), (1, 32, 3, 4), (1, 32, 2, 2)]
    with subtests.test('head'):
        logits, deltas = runner.model.roi_head.bbox_head(torch.randn(5, 32, 7, 7))
        assert logits.shape == (5, 3) and logits.abs().max() <= 20 and deltas.shape == (5, 8)
    with subtests.test('loss'):
        loss, p = runner.model.roi_head.bbox_head.loss_cls, torch.tensor([0.5, 0.9])
        got = loss(torch.stack([p, 1 - p], 1).log(), torch.tensor([0, 0]))
        assert got.item() == pytest.approx(float((-p.log() * (1 - p) ** 2).mean()), rel=1e-5)
        assert all(np.isfinite(scalars['train/loss_cls']._log_history))
    with subtests.test('metric'):
        assert 0 <= scalars['val/count/error'].current() <= 18 and 'count/error' in log
    with subtests.test('norm'):
        assert {'backbone.stem.pn.weight', 'neck.convs.3.pn.bias'} <= set(runner.model.state_dict())
        out = runner.model.backbone.stem.pn(torch.randn(1, 16, 4, 4) * 7)
        assert out.square().mean().item() == pytest.approx(1, abs=0.2)
    with subtests.test('hook'):
        assert log.count('slowest step: ') == 2 and '.png' in log.split('slowest step: ')[1].splitlines()[0]


def test_the_page_shows_every_file():
    shown = re.findall(r'^--8<-- "own/(\w+\.py)"$', (DOCS / 'own.md').read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(path.name for path in (DOCS / 'own').glob('*.py') if path.name != 'draw.py')
