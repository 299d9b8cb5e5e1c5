"""torch.compile of the detector's parts changes no number; the Runner's key `compile` asks for it."""
import os
import shutil

import pytest
import torch
import toy_run
from mask_rcnn import build, data, losses, total
from scene import scene
from torch._dynamo.testing import CompileCounterWithBackend

from mmdet.engine import Runner

NEEDS_COMPILER = pytest.mark.skipif(not shutil.which(os.environ.get('CXX', 'g++')), reason='inductor writes C++')
NORMS = {'GN': dict(type='GN', num_groups=8), 'CBN': dict(type='CBN'), 'SyncBN': dict(type='SyncBN')}


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def with_norm(name):
    norm = dict(norm_cfg=NORMS[name]) if name else {}
    return build(**{f'{place}.{key}': value for place in ('neck', 'roi_head.bbox_head', 'roi_head.mask_head')
                    for key, value in norm.items()}, **{'test_cfg.rcnn.score_thr': 0.},
                 **({'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead', 'roi_head.bbox_head.conv_out_channels': 32}
                    if name else {}))


def step(model, images, targets, dtype):
    """Losses and gradients of one step, and the boxes found after it."""
    torch.manual_seed(1)
    model.train().zero_grad()
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        result = losses(model, images, targets)
        total(result).backward()
        found = model.eval()(**model.data_preprocessor(data(images, targets), False), mode='predict')
    return (result, {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
            [sample.pred_instances.bboxes for sample in found])


def lower(images, targets):
    """The same pictures without their last 32 lines."""
    return ([image[:, :-32] for image in images],
            [{**target, 'masks': target['masks'][:, :-32]} for target in targets])


@pytest.mark.parametrize('backend, norm, dtype', [
    ('aot_eager', None, torch.float32), ('aot_eager', 'GN', torch.bfloat16), ('aot_eager', 'CBN', torch.float32),
    ('aot_eager', 'SyncBN', torch.float32), pytest.param('inductor', None, torch.float32, marks=NEEDS_COMPILER)])
def test_steps_equal_those_without(backend, norm, dtype):
    eager, compiled = with_norm(norm), with_norm(norm)
    counter = CompileCounterWithBackend(backend)
    compiled.compile(backend=counter)
    for images, targets in (scene(0), lower(*scene(1))):
        expected, result = (step(model, images, targets, dtype) for model in (eager, compiled))
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
    parts = 2 if norm in ('CBN', 'SyncBN') else 5  # what a CBN or SyncBN is part of runs as it is
    # Training, testing, and the other size once each.
    assert 2 * parts <= counter.frame_count <= 4 * parts
    assert not torch._dynamo.utils.counters['graph_break']


def test_state_dict_keeps_its_names():
    model = build()
    names = list(model.state_dict())
    model.compile(backend='aot_eager')
    assert list(model.state_dict()) == names


def test_many_sizes_are_compiled_a_few_times():
    model = build().train()
    counter = CompileCounterWithBackend('aot_eager')
    model.compile(backend=counter)
    images, targets = scene(0)
    with torch.no_grad():
        for i in range(7):
            losses(model, [image[:, :, :image.shape[2] - 32 * (i % 3)] for image in images[:1 + i % 2]],
                   [{**target, 'masks': target['masks'][:, :, :target['masks'].shape[2] - 32 * (i % 3)]}
                    for target in targets[:1 + i % 2]])
    assert counter.frame_count <= 20


def test_the_config_asks_for_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(toy_run.ToyModel, 'compile', lambda self, **options: asked.append(options))
    for value in (None, False, True, dict(backend='aot_eager', dynamic=True)):
        runner = Runner.from_cfg(toy_run.config(tmp_path, experiment_name=f'{value}'))
        runner.cfg.compile = value
        runner.train()
    assert asked == [{}, dict(backend='aot_eager', dynamic=True)]


@pytest.mark.parametrize('value', ['max-autotune', 1, dict(model='x'), dict(mod='default'), dict(mode='fast'),
                                   dict(backend='gcc')])
def test_other_values_are_named(tmp_path, value):
    runner = Runner.from_cfg(toy_run.config(tmp_path))
    runner.cfg.compile = value
    with pytest.raises(ValueError, match='compile='):
        runner.train()


def test_compiled_training_resumes_and_tests(tmp_path):
    options = dict(model=dict(type='ToyModel'), compile=dict(backend='aot_eager'))
    toy_run.train(tmp_path, **options)
    runner = toy_run.train(tmp_path, resume=True, **options, **{'train_cfg.max_epochs': 4})
    assert runner.epoch == 4 and runner.model._compiled_call_impl is not None
