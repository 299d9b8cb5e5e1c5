"""CUDA graphs of losses and gradients: what they make of a batch's shape, and on a GPU that they train as without."""
import copy

import pytest
import torch
from mask_rcnn import ALL_PROPOSED, ALL_SAMPLED, build, data, norms, total
from scene import small_scene

from mmdet.engine.cuda_graph import GraphedLoss, flatten, pad, unflatten, use_cuda_graphs


def batch(model, part=slice(None)):
    images, targets = small_scene()
    targets = [{name: value[part] for name, value in target.items()} for target in targets]
    return model.data_preprocessor(data(images, targets), True)


@pytest.mark.parametrize('part', [slice(None), slice(1), slice(0)])
def test_padding_changes_no_loss(part):
    model = build(**ALL_SAMPLED).train()
    given = batch(model, part)
    sides = given['inputs'].shape[2:]
    inputs, gt = pad(given['inputs'], given['gt'], 32)
    assert inputs.shape[2:] == sides and gt.boxes.shape[1] % 16 == gt.ignored.shape[1] % 16 == 0
    assert len(gt.masks.boxes) == gt.valid.numel() and len(gt.masks.pixels) == 1 << 18
    again = unflatten(tuple(flatten(gt)), gt)
    assert all(a is b for a, b in zip(flatten(again), flatten(gt), strict=True))
    torch.manual_seed(0)
    expected = model.loss(given['inputs'], given['gt'])
    torch.manual_seed(0)
    for name, value in model.loss(inputs, again).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    assert pad(given['inputs'], given['gt'], 1000)[0].shape[2:] == (1000, 1000)


@pytest.mark.parametrize('options, match', [(dict(max_graphs=0), 'max_graphs'), (dict(size_divisor='a'), 'size_div')])
def test_wrong_options_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        GraphedLoss(build(), **options)


def test_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='there is no GPU'):
        use_cuda_graphs(build(), True)


def test_norms_that_differ_from_step_to_step_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(ValueError, match='CBN'):
        use_cuda_graphs(build(**norms(dict(type='CBN'))), True)


def test_a_shape_is_recorded_when_it_comes_again_and_no_gradient_waits(monkeypatch):
    model = build().train()
    graphed, given = GraphedLoss(model), batch(model)
    recorded = []
    monkeypatch.setattr(graphed, '_record', lambda tensors, gt: recorded.append(len(tensors)) or ((), lambda *_: ()))
    weight = next(p for p in model.parameters() if p.requires_grad)
    graphed(given['inputs'], given['gt'])
    assert not recorded
    weight.grad = torch.zeros_like(weight)
    assert graphed(given['inputs'], given['gt']) and not recorded
    weight.grad = None
    assert graphed(given['inputs'], given['gt']) == {} and recorded == [10]


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('norm', [dict(type='BN'), dict(type='GN', num_groups=8)], ids=lambda cfg: cfg['type'])
def test_trains_as_without_graphs(norm, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    models = [build(**norms(norm), **ALL_SAMPLED, **ALL_PROPOSED).cuda().train()]
    models.append(copy.deepcopy(models[0]))
    use_cuda_graphs(models[0], dict(size_divisor=32))
    optimizers = [torch.optim.SGD(model.parameters(), 0.001, 0.9) for model in models]
    batches = [[batch(model, slice(objects)) for objects in (None, 1, 2, 0)] for model in models]
    for step in range(6):
        found = []
        for model, optimizer, each in zip(models, optimizers, batches):
            if step != 4:  # adds to the gradients of step 3
                optimizer.zero_grad()
            with torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
                losses = model(**each[step % len(each)], mode='loss')
            total(losses).backward()
            optimizer.step()
            found.append({name: float(value.detach()) for name, value in losses.items()})
        near = 2e-3 if dtype == torch.float32 else 0.05
        assert found[0] == pytest.approx(found[1], rel=near, abs=near), step
    assert len(models[0].loss._graphs) == 1
    for (name, value), expected in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0.02, atol=0.02, msg=name)
