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
from mmdet.errors import UserError
from mmdet.models.backbones.resnet import BasicBlock, ResNet

NEEDS_COMPILER = pytest.mark.skipif(not shutil.which(os.environ.get('CXX', 'g++')), reason='inductor writes C++')
PLACES = ('neck', 'roi_head.bbox_head', 'roi_head.mask_head')


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.fixture(autouse=True)
def one_block_a_stage(monkeypatch):
    """A backbone of half the depth compiles in half the time."""
    monkeypatch.setitem(ResNet.arch_settings, 18, (BasicBlock, (1, 1, 1, 1)))


def with_norms(*types):
    """A model with these norms in neck, box head and mask head."""
    more = {f'{place}.norm_cfg': dict(type='GN', num_groups=8) if kind == 'GN' else dict(type=kind)
            for place, kind in zip(PLACES, types)}
    if types:
        more |= {'roi_head.bbox_head.type': 'ConvFCBBoxHead', 'roi_head.bbox_head.conv_out_channels': 32,
                 'roi_head.bbox_head.num_shared_convs': 1, 'roi_head.bbox_head.num_shared_fcs': 1,
                 'roi_head.mask_head.num_convs': 1}
    return build(**{'test_cfg.rcnn.score_thr': 0., **more})


def step(model, images, targets, dtype, predicts):
    """Losses and gradients of one step, and the boxes found after it."""
    torch.manual_seed(1)
    model.train().zero_grad()
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        result = losses(model, images, targets)
        total(result).backward()
        batch = model.data_preprocessor(data(images, targets), False)
        found = model.eval()(**batch, mode='predict') if predicts else []
    return (result, {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
            [sample.pred_instances.bboxes for sample in found])


@pytest.mark.parametrize('backend, types, dtype, compiled_parts', [
    ('aot_eager', ('GN', 'GN', 'GN'), torch.bfloat16, 5), ('aot_eager', ('CBN', 'GN', 'SyncBN'), torch.float32, 3),
    pytest.param('inductor', (), torch.float32, 2, marks=NEEDS_COMPILER)])
def test_steps_equal_those_without(backend, types, dtype, compiled_parts):
    eager, compiled = with_norms(*types), with_norms(*types)
    counter = CompileCounterWithBackend(backend)
    predicts = compiled_parts == 3  # the others take minutes
    for part in [compiled] if backend == 'aot_eager' else [compiled.neck, compiled.roi_head.mask_head]:
        part.compile(backend=counter)
    expected, result = (step(model, *scene(0), dtype, predicts) for model in (eager, compiled))
    near = dict(rtol=1e-3, atol=1e-4) if dtype == torch.float32 else dict(rtol=1e-2, atol=2e-3)
    torch.testing.assert_close(result, expected, **near)
    # What a CBN or SyncBN is part of runs as it is. The rest at most once for training and once for testing.
    assert compiled_parts <= counter.frame_count <= (1 + predicts) * compiled_parts
    assert not torch._dynamo.utils.counters['graph_break']


def test_state_dict_keeps_its_names():
    model = build()
    names = list(model.state_dict())
    model.compile(backend='aot_eager')
    assert list(model.state_dict()) == names


def test_many_sizes_are_compiled_a_few_times():
    eager, compiled = build().train(), build().train()
    counter = CompileCounterWithBackend('aot_eager')
    for part in (compiled.neck, compiled.roi_head.mask_head):
        part.compile(backend=counter)
    images, targets = scene(0)
    for i in range(7):
        narrow = slice(images[0].shape[2] - 32 * (i % 3))
        some = ([image[..., narrow] for image in images[:1 + i % 2]],
                [{**target, 'masks': target['masks'][..., narrow]} for target in targets[:1 + i % 2]])
        values = []
        for model in (eager, compiled):
            torch.manual_seed(i)
            with torch.no_grad():
                values.append(losses(model, *some))
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)
    assert counter.frame_count <= 8


def test_the_config_asks_for_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(toy_run.ToyModel, 'compile', lambda self, **options: asked.append(options))
    for value in (None, False, True, dict(backend='aot_eager', dynamic=True)):
        runner = Runner.from_cfg(toy_run.config(tmp_path, experiment_name=f'{value}'))
        runner.cfg.compile = value
        runner.train()
    assert asked == [{}, dict(backend='aot_eager', dynamic=True)]


def test_other_values_are_named(tmp_path, subtests):
    runner = Runner.from_cfg(toy_run.config(tmp_path))
    for value, words in (('max-autotune', ''), (1, ''), (dict(model='x'), ''), (dict(mod='default'), ''),
                         (dict(mode='fast'), "'fast'.*should be one of: default"), (dict(backend='gcc'), '')):
        runner.cfg.compile = value
        with subtests.test(str(value)), pytest.raises(UserError, match=f'compile=.*{words}'):
            runner.train()


def test_compiled_training_resumes_and_tests(tmp_path):
    options = dict(model=dict(type='ToyModel'), compile=dict(backend='aot_eager'))
    toy_run.train(tmp_path, **options)
    runner = toy_run.train(tmp_path, resume=True, **options, **{'train_cfg.max_epochs': 4})
    assert runner.epoch == 4 and runner.model._compiled_call_impl is not None
