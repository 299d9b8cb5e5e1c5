import pytest
import torch
import toy_run
from each import each
from mmengine.optim import OptimWrapper
from test_runner import stopped_at
from torch import nn

from mmdet.checkpoints import read_checkpoint
from mmdet.engine import AmpOptimWrapper
from mmdet.engine.fused_optimizer import choose_kernel, keep_kernel

OPTIMIZERS = [dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01), dict(type='Adam', lr=0.01),
              dict(type='AdamW', lr=0.01, weight_decay=0.1)]


def conv_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))


def optimizer(cfg, model):
    cfg = dict(cfg)
    kind = getattr(torch.optim, cfg.pop('type'))
    parameters = cfg.pop('parameters', list(model.parameters()))
    made = kind(parameters, **cfg)
    keep_kernel(made)
    return made


def loss_of(model, x):
    return model(x).float().square().mean()


@pytest.mark.parametrize('cfg', [dict(type='SGD', lr=1, fused=False), dict(type='SGD', lr=1, foreach=True),
                                 dict(type='Adam', lr=1, differentiable=True), dict(type='Adadelta', lr=1)])
def test_a_choice_of_the_config_stands(cfg):
    assert choose_kernel(cfg, conv_net()) == cfg


@pytest.mark.parametrize('kind', ['SGD', 'AdamW', torch.optim.Adam])
def test_open_choice_is_fused_and_the_config_unchanged(kind):
    cfg = dict(type=kind, lr=1)
    assert choose_kernel(cfg, conv_net()) == dict(type=kind, lr=1, fused=True)
    assert cfg == dict(type=kind, lr=1)


def test_parameters_without_a_kernel_are_not_fused():
    cfg = dict(type='SGD', lr=1)
    assert choose_kernel(cfg, nn.ParameterList([torch.zeros(2, dtype=torch.complex64)])) == cfg
    strided = nn.Module()
    strided.weight = nn.Parameter(torch.zeros(4, 4)[:, ::2])
    assert choose_kernel(cfg, strided) == cfg


@each('wrapper_options', [
    {}, dict(clip_grad=dict(max_norm=0.1)), dict(accumulative_counts=2), dict(dtype='bfloat16')])
@each('cfg', OPTIMIZERS)
def test_steps_on_channels_last_weights_equal_those_of_a_loop(cfg, wrapper_options):
    wrap = AmpOptimWrapper if 'dtype' in wrapper_options else OptimWrapper
    fused, loop = conv_net().to(memory_format=torch.channels_last), conv_net()
    wrappers = []
    for model, choice in ((fused, choose_kernel(cfg, fused)), (loop, dict(cfg, foreach=False))):
        groups = [dict(params=list(model[0].parameters()), lr=0.02), dict(params=list(model[2].parameters()))]
        wrappers.append(wrap(optimizer=optimizer(dict(choice, parameters=groups), model), **wrapper_options))
    assert wrappers[0].optimizer.param_groups[0]['fused'] and not wrappers[1].optimizer.param_groups[0]['fused']
    for _ in range(4):
        x = torch.randn(2, 4, 6, 6)
        for model, wrapper in zip((fused, loop), wrappers, strict=True):
            wrapper.update_params(loss_of(model, x))
    assert not torch.equal(loop[0].weight, conv_net()[0].weight)
    torch.testing.assert_close(fused.state_dict(), loop.state_dict(), rtol=1e-5, atol=1e-6)


@each('cfg', OPTIMIZERS)
@each('clip', [None, dict(max_norm=0.1)])
def test_gradients_scaled_for_float16(cfg, clip):
    """A step with an infinite gradient is left out, the others equal those without a scale."""
    model, plain = conv_net().to(memory_format=torch.channels_last), conv_net()
    scaled = AmpOptimWrapper(optimizer=optimizer(choose_kernel(cfg, model), model), clip_grad=clip)
    scaled.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.)
    by_hand = optimizer(dict(cfg, foreach=False), plain)
    for factor in (1., torch.inf, 1.):
        x = torch.randn(2, 4, 6, 6)
        scaled.update_params(loss_of(model, x) * factor)
        if factor == 1:
            by_hand.zero_grad()
            loss_of(plain, x).backward()
            if clip:
                nn.utils.clip_grad_norm_(plain.parameters(), **clip)
            by_hand.step()
    assert scaled.loss_scaler.get_scale() == 4
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('cfg', OPTIMIZERS, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('saved_by_fused', [False, True])
def test_a_checkpoint_of_other_kernel_and_memory_order_goes_on_the_same(cfg, saved_by_fused, tmp_path):
    one, other = conv_net(), conv_net().to(memory_format=torch.channels_last)
    models = (other, one) if saved_by_fused else (one, other)
    choices = (True, False) if saved_by_fused else (False, True)
    first, second = (optimizer(dict(cfg, fused=fused), model) for model, fused in zip(models, choices, strict=True))

    def step(model, made, x):
        made.zero_grad()
        loss_of(model, x).backward()
        made.step()
    step(models[0], first, torch.randn(2, 4, 6, 6))
    torch.save(dict(model=models[0].state_dict(), optimizer=first.state_dict()), tmp_path / 'checkpoint.pth')
    saved = torch.load(tmp_path / 'checkpoint.pth')
    models[1].load_state_dict(saved['model'])
    second.load_state_dict(saved['optimizer'])
    assert second.param_groups[0]['fused'] is choices[1]
    for _ in range(2):
        x = torch.randn(2, 4, 6, 6)
        step(models[0], first, x)
        step(models[1], second, x)
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0., custom_keys=dict(head=dict(lr_mult=0.1)))])
def test_the_runner_fuses_and_resumes_a_run_that_did_not(tmp_path, paramwise):
    options = {'optim_wrapper.optimizer.weight_decay': 0.01}
    if paramwise:
        options['optim_wrapper.paramwise_cfg'] = paramwise
    toy_run.train(tmp_path / 'loop', **options, **{'optim_wrapper.optimizer.fused': False})
    folder = stopped_at(tmp_path / 'loop/epoch_1.pth', tmp_path / 'fused')
    runner = toy_run.train(folder, resume=True, **options)
    assert all(group['fused'] for group in runner.optim_wrapper.optimizer.param_groups)
    loop, fused = (read_checkpoint(tmp_path / name / 'epoch_3.pth') for name in ('loop', 'fused'))
    torch.testing.assert_close(fused['state_dict'], loop['state_dict'], rtol=1e-5, atol=1e-6)
    assert not loop['optimizer']['param_groups'][0]['fused']
