"""The plain loop gives the losses, weights and AP of the Runner."""
import importlib.util
import json
import re

import pytest
import torch
from run_tool import ROOT

from mmdet.engine import Runner
from mmdet.engine.config import read_config
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules


def test_losses_are_the_runners(tiny):
    spec = importlib.util.spec_from_file_location('plain_train', ROOT / 'tools/plain_train.py')
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    cfg = read_config(str(tiny), {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2,
                                  'train_dataloader.batch_size': 2, 'train_dataloader.dataset.indices': 4,
                                  'val_dataloader.dataset.indices': 1})
    cfg.work_dir, cfg.launcher, cfg.log_processor.window_size = str(tiny.parent / 'runner'), 'none', 1
    cfg.default_hooks.report = None
    cfg.visualizer.name = 'plain_train'  # one of its own: another test's would write elsewhere
    register_all_modules()
    cfg.load_from = str(tiny.parent / 'start.pth')
    torch.manual_seed(1)  # the trainings have 0
    start = MODELS.build(cfg.model)
    start.init_weights()
    torch.save(dict(state_dict=start.state_dict()), cfg.load_from)
    lines = []
    model, _ = plain.train(cfg, 'cpu', lines.append)
    ap = plain.evaluate(model, plain.build_loader(cfg.val_dataloader, 0), cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = [json.loads(line) for path in (tiny.parent / 'runner').rglob('scalars.json')
              for line in path.read_text().splitlines()]
    assert len(lines) == 4
    for line, figures in zip(lines, (entry for entry in logged if 'loss' in entry), strict=True):
        for name, value in re.findall(r'(loss\w*) ([\d.]+)', line):
            assert float(value) == pytest.approx(figures[name], rel=1e-3, abs=1e-4), line
    own, other = (torch.cat([parameter.detach().flatten() for parameter in each.parameters()])
                  for each in (model, runner.model))
    assert (own - other).norm() < 1e-3 * other.norm()  # AdamW steps as far for gradients that are rounding alone
    assert ap['coco/bbox_mAP'] == pytest.approx(logged[-1]['coco/bbox_mAP'], abs=2e-3)
