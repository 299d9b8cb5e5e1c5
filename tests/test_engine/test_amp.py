import pytest
import torch
from torch import nn

from mmdet.engine import AmpOptimWrapper
from mmdet.engine.machine import multiplies_bfloat16
from mmdet.registry import OPTIM_WRAPPERS


def wrapper(model, **kwargs):
    return AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **kwargs)


def test_config_gets_ours():
    model = nn.Linear(2, 2)
    built = OPTIM_WRAPPERS.build(dict(type='AmpOptimWrapper', loss_scale='dynamic',
                                      optimizer=torch.optim.SGD(model.parameters(), lr=0.1)))
    assert type(built) is AmpOptimWrapper


@pytest.mark.skipif(torch.cuda.is_available(), reason='on GPUs float16 is kept')
@pytest.mark.parametrize('has_instructions', [True, False])
@pytest.mark.parametrize('dtype', [None, 'bfloat16', 'float16'])
def test_cpu_computes_in_bfloat16_if_it_can_or_must(dtype, has_instructions, monkeypatch, log):
    monkeypatch.setattr('mmdet.engine.amp.multiplies_bfloat16', lambda: has_instructions)
    model = nn.Linear(4, 4)
    amp = wrapper(model, dtype=dtype)
    bfloat16 = has_instructions or dtype == 'bfloat16'
    with amp.optim_context(model):
        assert model(torch.ones(1, 4)).dtype == (torch.bfloat16 if bfloat16 else torch.float32)
    assert not amp.loss_scaler.is_enabled()
    assert ('no instructions for bfloat16' in log.text) == (not bfloat16)


def test_the_instructions_of_a_cpu():
    assert multiplies_bfloat16('flags : fpu avx512f avx512_bf16 amx_tile') and multiplies_bfloat16('Features: fp bf16')
    assert not multiplies_bfloat16('flags : fpu avx2 avx512f avx512bw')


@pytest.mark.skipif(torch.cuda.is_available(), reason='checks the CPU')
def test_step_equals_autocast_by_hand():
    torch.manual_seed(0)
    model, twin = nn.Linear(4, 1), nn.Linear(4, 1)
    twin.load_state_dict(model.state_dict())
    amp = wrapper(model, clip_grad=dict(max_norm=0.5), dtype='bfloat16')
    by_hand = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for step in range(3):
        x = torch.randn(8, 4)
        with amp.optim_context(model):
            loss = model(x).float().square().mean()
        amp.update_params(loss)
        by_hand.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            twin_loss = twin(x).float().square().mean()
        twin_loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        by_hand.step()
        torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0, msg=f'step {step}')


def test_accumulation_updates_every_second_step():
    model = nn.Linear(1, 1, bias=False)
    amp = wrapper(model, accumulative_counts=2)
    before = model.weight.item()
    amp.update_params(model(torch.ones(1, 1)).sum())
    assert model.weight.item() == before
    amp.update_params(model(torch.ones(1, 1)).sum())
    assert model.weight.item() == pytest.approx(before - 0.1)  # mean gradient 1, lr 0.1


def test_state_is_saved_and_restored():
    model = nn.Linear(2, 1)
    amp = wrapper(model)
    amp.update_params(model(torch.ones(1, 2)).sum())
    state = amp.state_dict()
    assert 'loss_scaler' in state
    other = wrapper(model)
    other.load_state_dict(state)
    torch.testing.assert_close(other.optimizer.state_dict(), amp.optimizer.state_dict())
    assert 'loss_scaler' in state, 'the state that was handed in has changed'
    plain = torch.optim.SGD(model.parameters(), lr=0.5).state_dict()
    other.load_state_dict(plain)  # of a run without mixed precision
    assert other.optimizer.param_groups[0]['lr'] == 0.5


@pytest.mark.parametrize('kwargs, match', [(dict(dtype='float8'), 'dtype must be'), (dict(dtype='float64'), 'dtype'),
                                           (dict(loss_scale='static'), 'loss_scale must be')])
def test_wrong_options_are_named(kwargs, match):
    with pytest.raises(ValueError, match=match):
        wrapper(nn.Linear(1, 1), **kwargs)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype, loss_scale', [
    ('float16', 'dynamic'), ('float16', 512.), ('float16', dict(init_scale=8.)), ('bfloat16', 'dynamic')])
def test_gpu_scales_float16(dtype, loss_scale):
    model = nn.Linear(4, 1).cuda()
    amp = wrapper(model, dtype=dtype, loss_scale=loss_scale)
    before = model.weight.clone()
    with amp.optim_context(model):
        out = model(torch.ones(2, 4, device='cuda'))
    assert out.dtype == getattr(torch, dtype)
    amp.update_params(out.float().sum() / 8)  # float16 holds it even when scaled by the 65536 of 'dynamic'
    torch.testing.assert_close(model.weight, before - 0.1 * 2 / 8, rtol=1e-3, atol=1e-3)
    assert amp.loss_scaler.is_enabled() == (dtype == 'float16')
    other = wrapper(model, dtype=dtype, loss_scale=loss_scale)
    other.load_state_dict(amp.state_dict())
    assert other.loss_scaler.get_scale() == amp.loss_scaler.get_scale()
