"""CBN against golden figures, against its definition by a second differentiation, and in each way of training."""
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from each import each
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from mmdet.errors import UserError
from mmdet.models.layers import CBN, ConvModule, conv_norm
from mmdet.models.layers.patch_stats import slopes

DATA = Path(__file__).parents[2] / 'data'


def layer(cin=4, cout=6, dtype=torch.float64, seed=0, bias=False, norm=None, **options):
    """A convolution 3x3 with CBN, all parameters random."""
    torch.manual_seed(seed)
    norm = norm or dict(type='CBN', buffer_num=3)
    module = ConvModule(cin, cout, options.pop('kernel_size', 3), norm_cfg=norm, act_cfg=None, bias=bias, **options)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.to(dtype)


def batches(count, shape=(2, 4, 7, 6), seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5).to(dtype) for _ in range(count)]


def step(module, x, lr=0.02):
    """One step of gradient descent; returns output, gradient of x, and the parameters' gradients."""
    x = x.clone().requires_grad_()
    out = module(x)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)  # any loss
    (out * weights + out.square() * 0.1).sum().backward()
    grads = [parameter.grad for parameter in module.parameters()]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= lr * parameter.grad / (1 + parameter.grad.norm())
            parameter.grad = None
    return [out.detach(), x.grad, *grads]


class Definition(nn.Module):
    """CBN as the paper puts it: derivatives by autograd, weights of every stored iteration kept."""

    def __init__(self, module, buffer_num=3):
        super().__init__()
        self.every = module.bn.slope_stride
        self.conv = copy.deepcopy(module.conv)
        self.bn = nn.BatchNorm2d(module.conv.out_channels).to(module.conv.weight.dtype)
        self.bn.load_state_dict(module.bn.state_dict())
        self.buffer_num = buffer_num
        self.history = []

    def forward(self, x):
        y = self.conv(x)
        mu, nu = y.mean((0, 2, 3)), y.square().mean((0, 2, 3))
        weights = [self.conv.weight] + ([] if self.conv.bias is None else [self.conv.bias])
        today = torch.cat([w.detach().view(len(w), -1) for w in weights], 1)  # a row for each output channel
        means, squares = [mu], [nu]
        for mu_s, nu_s, d_mu, d_nu, then in self.history:
            means.append(mu_s + (d_mu * (today - then)).sum(1))
            squares.append(torch.maximum(nu_s + (d_nu * (today - then)).sum(1), means[-1] ** 2))
        chosen = y[:, :, ::self.every, ::self.every].var((0, 2, 3), correction=0)
        d_mu, d_var = (torch.stack([
            torch.cat([g[j].flatten() for g in torch.autograd.grad(value[j], weights, retain_graph=True)])
            for j in range(len(value))]) for value in (mu, chosen))
        d_nu = d_var + 2 * mu.detach()[:, None] * d_mu
        self.history = [*self.history, (mu.detach(), nu.detach(), d_mu, d_nu, today)][-self.buffer_num:]
        mean, square = torch.stack(means).mean(0), torch.stack(squares).mean(0)
        scale = self.bn.weight / (square - mean ** 2 + self.bn.eps).sqrt()
        return (y - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + self.bn.bias.view(-1, 1, 1)


@each('memory_format', [torch.contiguous_format, torch.channels_last])
@each('options', [dict(padding=1), dict(bias=True), dict(stride=2), dict(kernel_size=1)])
def test_float32_is_close_to_float64(options, memory_format):
    """At sizes at which the kernels for float32 serve."""
    exact = layer(16, 24, **options)
    module = copy.deepcopy(exact).to(torch.float32, memory_format=memory_format)
    for x in batches(6, (2, 16, 20, 21)):
        expected = step(exact, x, lr=0.5)
        result = step(module, x.float().contiguous(memory_format=memory_format), lr=0.5)
        for value, wanted in zip(result, expected, strict=True):
            scale = max(wanted.abs().max().item(), 20)  # the gradient of a bias nearly vanishes
            torch.testing.assert_close(value.double() / scale, wanted / scale, rtol=0, atol=2e-5)
    for name, value in module.bn.state_dict().items():
        torch.testing.assert_close(value.double(), exact.bn.state_dict()[name].double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', ['3x3', '1x1_stride2'])
def test_golden(name):
    golden = {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(DATA / f'cbn_{name}.npz').items()}
    cout, cin, *kernel = golden['weight0'].shape
    conv = nn.Conv2d(cin, cout, kernel, golden['stride'].item(), golden['padding'].item(), bias=False).double()
    norm = CBN(cout, golden['eps'].item(), golden['momentum'].item(), golden['buffer_num'].item()).double()
    parameters = (conv.weight, norm.weight, norm.bias)
    with torch.no_grad():
        for parameter, start in zip(parameters, ('weight0', 'gamma0', 'beta0'), strict=True):
            parameter.copy_(golden[start])
    for t in range(golden['steps'].item()):
        x = golden[f'{t}/x'].requires_grad_()
        out = conv_norm(x, conv, norm)
        grads = torch.autograd.grad((out * golden[f'{t}/grad_out']).sum(), (x, *parameters))
        values = (out, *grads, norm.running_mean, norm.running_var)
        keys = ('out', 'grad_x', 'grad_weight', 'grad_gamma', 'grad_beta', 'running_mean', 'running_var')
        for value, key in zip(values, keys, strict=True):
            torch.testing.assert_close(value, golden[f'{t}/{key}'], rtol=1e-9, atol=1e-9)
        with torch.no_grad():
            for parameter, grad in zip(parameters, grads[1:], strict=True):
                parameter -= golden['lr'].item() * grad


SAMPLED = dict(type='CBN', buffer_num=3, slope_stride=2)


@each('options', [
    dict(), dict(padding=1), dict(stride=2, padding=1), dict(dilation=2, padding=2), dict(groups=2), dict(bias=True),
    dict(kernel_size=1), dict(kernel_size=1, stride=3), dict(kernel_size=(3, 1), stride=(2, 1), padding=(0, 2)),
    dict(groups=2, bias=True, stride=2, dilation=(1, 2), padding=3), dict(padding='same', dilation=2),
    dict(norm=SAMPLED, padding=1), dict(norm=SAMPLED, kernel_size=1, bias=True), dict(norm=SAMPLED, stride=2, groups=2),
    dict(norm=SAMPLED, kernel_size=1, stride=2), dict(norm=SAMPLED, kernel_size=1, padding=1, cout=3),
    dict(norm=SAMPLED, kernel_size=1, cout=9, padding='same'), dict(norm=SAMPLED, padding='same', dilation=2)])
def test_equals_definition_by_second_differentiation(options):
    module = layer(**options)
    definition = Definition(module)
    for x in batches(6):
        definition.load_state_dict(module.state_dict(), strict=False)  # large steps blow rounding up
        for value, expected in zip(step(module, x, lr=8.), step(definition, x, lr=8.), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


@each('options', [dict(padding=1), dict(kernel_size=1), dict(kernel_size=1, stride=2)])
@each('every', [1, 2])
def test_rows_that_do_not_count(every, options):
    """The slopes of a padded batch are those of its real rows alone, also where a convolution is asked for them."""
    module = layer(**options)
    asked = copy.deepcopy(module.conv)
    asked.convolve = lambda x, weight: asked._conv_forward(x, weight, None)
    x, real = batches(1, (5, 4, 7, 6))[0], torch.tensor([True, False, True, True, False])
    with torch.no_grad():
        y = module.conv(x)
        mean = y[real].mean((0, 2, 3))
        for value, expected in zip(slopes(x[real], module.conv, y[real], mean, None, every),
                                   slopes(x, module.conv, y, mean, real, every), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    for value, expected in zip(slopes(x, module.conv, y, mean, real, every), slopes(x, asked, y, mean, real, every),
                               strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def estimates_of(module, conv=None):
    """Means and variances, each (S, Cout), of the stored iterations for the weights of today, from the newest on."""
    conv = conv or module.conv
    norm, groups = module.bn, conv.groups
    weight = conv.weight.detach().flatten(1)
    means, variances = [], []
    for entry in range(norm.stored - 1, norm.stored - 1 - min(norm.window(), norm.stored), -1):
        patch, slope, mean, mean0, var0 = (entries[entry % norm.buffer_num] for entries in norm.history.values())
        shift = (patch.repeat_interleave(len(weight) // groups, 0) * weight).sum(1) - mean0
        if conv.bias is not None:
            shift += conv.bias.detach()
        means.append(mean + shift)
        variances.append((var0 + (slope * weight).sum(1) - shift ** 2).clamp(min=0))
    return torch.stack(means), torch.stack(variances)


def test_cut_variances_occur():
    module = layer()
    for x in batches(6):
        step(module, x, lr=8.)
    variances = estimates_of(module)[1]
    assert (variances == 0).any() and (variances > 0).any()


def test_running_statistics_are_batch_norms():
    module, plain = layer(), layer(norm=dict(type='BN'))
    for x in batches(5):
        plain.conv.load_state_dict(module.conv.state_dict())
        step(module, x)
        plain(x)
        torch.testing.assert_close(module.bn.running_mean, plain.bn.running_mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(module.bn.running_var, plain.bn.running_var, rtol=1e-12, atol=1e-12)
    assert module.bn.num_batches_tracked == 5


def test_gradients_by_finite_differences(monkeypatch):
    module = layer(bias=True)
    for x in batches(3):
        step(module, x)
    names, parameters = zip(*module.named_parameters(), strict=True)
    means, variances = estimates_of(module)

    def pooled(weight, bias, history, patch, slope, mean, variance, first, count):
        # The earlier iterations give no gradient: by finite differences their estimates must stand still.
        all_means = torch.cat([mean[None], means])
        return all_means.mean(0), torch.cat([variance[None], variances]).mean(0) + all_means.var(0, correction=0)
    monkeypatch.setattr('mmdet.models.layers.cbn.cbn_statistics', pooled)

    def run(x, *values):
        return functional_call(copy.deepcopy(module), dict(zip(names, values, strict=True)), x)
    inputs = [batches(1, (2, 4, 5, 4))[0].requires_grad_(), *(p.detach().requires_grad_() for p in parameters)]
    assert torch.autograd.gradcheck(run, inputs)


def test_without_buffer_it_is_batch_norm():
    module, plain = layer(norm=dict(type='CBN', buffer_num=0)), layer(norm=dict(type='BN'))
    for x in batches(4):
        for value, expected in zip(step(module, x), step(plain, x), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    assert module.state_dict().keys() == plain.state_dict().keys() | {'bn.cbn_counters'}
    torch.testing.assert_close(module.bn.running_var, plain.bn.running_var, rtol=1e-12, atol=1e-12)


class TestBurnin:
    @staticmethod
    def windows(norm, count=9):
        windows = []
        for _ in range(count):
            windows.append(norm.window())
            norm.iteration += 1
        return windows

    def test_step_and_linear(self):
        assert self.windows(CBN(4, buffer_num=3, burnin_iters=4)) == [0] * 4 + [3] * 5
        assert self.windows(CBN(4, buffer_num=3, burnin_iters=6, ramp='linear')) == [0, 0, 1, 1, 2, 2, 3, 3, 3]
        assert self.windows(CBN(4, buffer_num=2)) == [2] * 9

    def test_epochs(self):
        norm = CBN(4, burnin=2)
        with pytest.raises(UserError, match='burnin=2 counts epochs.*set_epoch_length'):
            norm.window()
        norm.set_epoch_length(3)
        assert self.windows(norm) == [0] * 6 + [3] * 3
        norm = CBN(4, burnin_iters=5)
        norm.set_epoch_length(100)
        assert norm.burnin_iters == 5

    def test_is_batch_norm_and_stores_nothing(self):
        module, plain = layer(norm=dict(type='CBN', burnin_iters=3)), layer(norm=dict(type='BN'))
        for i, x in enumerate(batches(4)):
            outputs = step(module, x), step(plain, x)
            assert module.bn.stored == (i == 3)
            # The first iteration behind the burn-in finds nothing stored.
            for value, expected in zip(*outputs, strict=True):
                torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        assert (module(batches(1, seed=7)[0]) - plain(batches(1, seed=7)[0])).abs().max() > 1e-3

    @pytest.mark.parametrize('wrong', [dict(burnin=1, burnin_iters=3), dict(ramp='cosine'), dict(buffer_num=-1),
                                       dict(slope_stride=0)],
                             ids=str)
    def test_wrong_options_are_named(self, wrong):
        with pytest.raises(ValueError, match=f'norm_cfg: .*{next(iter(wrong))}'):
            CBN(4, **wrong)


def trained(steps=4, **options):
    module = layer(**options)
    for x in batches(steps, dtype=module.conv.weight.dtype):
        step(module, x)
    return module


def state(module):
    """All that a forward in training may change."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_state(module, before):
    after = module.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_evaluation_uses_running_statistics_and_stores_nothing():
    module = trained().eval()
    before = state(module)
    plain = layer(norm=dict(type='BN')).eval()
    plain.load_state_dict({name: value for name, value in before.items() if 'cbn_' not in name})
    x, = batches(1)
    torch.testing.assert_close(module(x), plain.bn(plain.conv(x)), rtol=1e-12, atol=1e-12)
    assert_same_state(module, before)


def test_no_rows():
    module = trained()
    before = state(module)
    out = module(torch.zeros(0, 4, 7, 6, dtype=torch.float64))
    assert out.shape == (0, 6, 5, 4)
    out.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())
    assert_same_state(module, before)


@pytest.mark.parametrize('reentrant', [True, False])
@pytest.mark.parametrize('steps', [0, 2, 3, 6], ids=lambda s: f'after_{s}_steps')
def test_activation_checkpointing_changes_nothing(reentrant, steps):
    def build():
        norm = dict(type='CBN', buffer_num=2, burnin_iters=3)
        model = nn.Sequential(layer(norm=norm), nn.ReLU(), layer(cin=6, seed=1, norm=norm))
        for x in batches(steps):
            step(model, x)
        return model

    plain, saving = build(), build()
    x, = batches(1, seed=5)
    outputs = step(plain, x), step(lambda_module(saving, reentrant), x)
    for value, expected in zip(*outputs, strict=True):
        assert torch.equal(value, expected)
    assert_same_state(saving, state(plain))


def lambda_module(model, reentrant):
    class Saving(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return checkpoint(self.model, x, use_reentrant=reentrant)
    return Saving()


@pytest.mark.parametrize('reentrant', [True, False])
def test_activation_checkpointing_of_several_forwards_in_flight(reentrant):
    """Two forwards, the two backwards after them, in both orders: each finds the history of its own forward."""
    grads = []
    for saved, order in ((False, (0, 1)), (True, (0, 1)), (True, (1, 0))):
        module = trained()
        outputs = [checkpoint(module, x, use_reentrant=reentrant) if saved else module(x)
                   for x in (x.requires_grad_() for x in batches(2, seed=9))]
        for i in order:
            outputs[i].pow(3).sum().backward()
        grads.append([parameter.grad for parameter in module.parameters()])
        last = state(module)
        assert last['bn.cbn_counters'].tolist() == [6, 6]
    for other in grads[1:]:
        for value, expected in zip(other, grads[0], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_accumulation_counts_every_forward():
    """Two forwards with the same weights: the second averages over the first, unchanged."""
    module = layer(norm=dict(type='CBN', buffer_num=1))
    first, second = batches(2)
    module(first).sum().backward()
    out = module(second)
    joined = torch.cat([module.conv(first), module.conv(second)])  # as large as each other: one batch of both
    expected = nn.functional.batch_norm(joined, None, None, module.bn.weight, module.bn.bias, True)[2:]
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert module.bn.iteration == module.bn.stored == 2


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision(dtype):
    exact, mixed = (layer(dtype=torch.float32, padding=1) for _ in range(2))
    for x in batches(5, dtype=torch.float32):
        with torch.autocast('cpu', dtype):
            out = mixed(x)
        assert out.dtype == dtype
        expected = exact(x)
        torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)
        for module, y in ((mixed, out), (exact, expected)):
            y.float().pow(2).sum().backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    assert parameter.grad.dtype == torch.float32
                    parameter -= 0.01 * parameter.grad / parameter.grad.norm()
                    parameter.grad = None
    assert all(entries.dtype == torch.float32 for entries in mixed.bn.history.values())
    assert mixed.bn.running_mean.dtype == torch.float32


def test_half_precision_model_keeps_float32_history():
    module = trained(dtype=torch.float32).bfloat16()
    assert all(entries.dtype == torch.float32 for entries in module.bn.history.values())
    out = module(batches(1, dtype=torch.bfloat16)[0])
    assert out.dtype == torch.bfloat16 and out.isfinite().all()


@pytest.mark.parametrize('steps', range(7))
def test_resume_is_bit_for_bit(steps, tmp_path):
    norm = dict(type='CBN', buffer_num=2, burnin_iters=2)
    unbroken = trained(steps, norm=norm, dtype=torch.float32)
    torch.save(unbroken.state_dict(), tmp_path / 'state.pth')
    resumed = layer(norm=norm, dtype=torch.float32, seed=99)
    resumed.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    for x in batches(4, seed=3, dtype=torch.float32):
        for value, expected in zip(step(resumed, x), step(unbroken, x), strict=True):
            assert torch.equal(value, expected)
    assert_same_state(resumed, state(unbroken))


def test_saved_state_is_a_snapshot():
    module = trained()
    saved = {name: (value, value.clone()) for name, value in module.state_dict().items() if 'cbn_' in name}
    step(module, batches(1, seed=3)[0])
    assert all(torch.equal(value, copied) for value, copied in saved.values())


def test_batch_norm_checkpoint_loads_and_empties_the_history():
    plain = layer(norm=dict(type='BN'), seed=5)
    plain(batches(1)[0])
    module = trained()
    assert not any(module.load_state_dict(plain.state_dict()))
    assert module.bn.iteration == module.bn.stored == 0 and module.bn.history is None
    assert module.state_dict().keys() == plain.state_dict().keys()
    x, = batches(1, seed=2)
    torch.testing.assert_close(module(x), plain(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('buffer_num', [0, 1, 2, 5])
def test_loads_the_newest_into_another_buffer(buffer_num):
    saved = trained(steps=5)
    module = layer(norm=dict(type='CBN', buffer_num=buffer_num))
    module.load_state_dict(saved.state_dict())
    if buffer_num == 0:
        assert module.bn.history is None
        return
    saved.bn.window = lambda: min(3, buffer_num)
    for value, expected in zip(estimates_of(module, saved.conv), estimates_of(saved), strict=True):
        assert torch.equal(value, expected)


def test_weights_changed_from_outside():
    """Of the same shape: the expansion carries the history over. Of another: the history is dropped."""
    module = layer()
    x, = batches(1)
    step(module, x, lr=0)
    with torch.no_grad():
        module.conv.weight.mul_(1.5)  # means grow 1.5 times, mean squares to first order 2 times
    y = module.conv(x) / 1.5
    mean, square = 1.5 * y.mean((0, 2, 3)), 2 * y.square().mean((0, 2, 3))
    estimates = estimates_of(module)
    torch.testing.assert_close(estimates[0], mean[None])
    torch.testing.assert_close(estimates[1], (square - mean.square()).clamp(min=0)[None])
    other = nn.Conv2d(4, 6, 1).double()
    expected = nn.functional.batch_norm(other(x), None, None, module.bn.weight, module.bn.bias, True)
    torch.testing.assert_close(conv_norm(x, other, module.bn), expected)
    assert module.bn.stored == 1


def test_history_is_no_larger_than_the_weights():
    module = trained(steps=5)
    sizes = {name: entries[0].numel() for name, entries in module.bn.history.items()}
    assert sizes == dict(patch=4 * 9, slope=6 * 4 * 9, mean=6, mean0=6, var0=6)
    assert all(len(entries) == 3 for entries in module.bn.history.values())


def test_copies_and_moves():
    module = trained()
    copied = copy.deepcopy(module).to('cpu')
    for value, expected in zip(step(copied, batches(1)[0]), step(module, batches(1)[0]), strict=True):
        assert torch.equal(value, expected)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_memory_format_is_kept(memory_format):
    module = trained(padding=1).to(memory_format=memory_format)
    x = batches(1)[0].contiguous(memory_format=memory_format)
    out = module(x)
    assert out.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(out, trained(padding=1)(batches(1)[0]), rtol=1e-10, atol=1e-10)


def test_compiled():
    norm = dict(type='CBN', buffer_num=2, burnin_iters=1)
    eager = nn.Sequential(layer(norm=norm), nn.ReLU(), layer(cin=6, seed=1, norm=norm))
    module = copy.deepcopy(eager)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend='aot_eager')
    for x in batches(5):
        for value, expected in zip(step(compiled, x), step(eager, x), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    assert_same_state(module, state(eager))
    x, = batches(1)
    torch.testing.assert_close(compiled.eval()(x), eager.eval()(x), rtol=1e-10, atol=1e-10)


def test_recording_off_is_batch_norm_and_keeps_the_history():
    module = trained()
    module.bn.recording = False
    before = state(module)
    x, = batches(1)
    out = module(x)
    expected = nn.functional.batch_norm(module.conv(x), None, None, module.bn.weight, module.bn.bias, True)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items() if 'cbn_' in name)
    assert not torch.equal(module.bn.running_mean, before['bn.running_mean'])


def test_misuse_is_named():
    module = layer()
    with pytest.raises(UserError, match='conv_norm'):
        module.bn(torch.zeros(2, 6, 3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match='more than one output position'):
        module(torch.zeros(1, 4, 3, 3, dtype=torch.float64))
    with pytest.raises(UserError, match='nn.Conv2d, not with ConvTranspose2d'):
        conv_norm(torch.zeros(1, 4, 3, 3, dtype=torch.float64), nn.ConvTranspose2d(4, 6, 2).double(), module.bn)


NO_HISTORY = [
    ('counters', torch.tensor([5, -1])), ('counters', torch.tensor([5.])), ('counters', 3), ('counters', torch.ones(2)),
    ('patch', torch.ones(1, 1)), ('slope', torch.ones(1, 3, 9)), ('mean', None), ('mean', torch.ones(2, 4)),
    ('var0', torch.full((1, 4), torch.nan)), ('mean0', torch.ones(1, 4).long()), ('patch', torch.ones(1, 1, 8))]


def test_a_history_that_is_none_is_named(subtests):
    for name, value in NO_HISTORY:
        with subtests.test(name):
            state = dict(cbn_counters=torch.tensor([5, 1]), cbn_patch=torch.ones(1, 1, 9),
                         cbn_slope=torch.ones(1, 4, 9),
                         **{f'cbn_{part}': torch.ones(1, 4) for part in ('mean', 'mean0', 'var0')})
            norm = CBN(4)
            norm.load_state_dict({**norm.state_dict(), **state})
            assert norm.stored == 1 and norm.iteration == 5
            state[f'cbn_{name}'] = value
            with pytest.raises(UserError, match=f'cbn_({name}|\\*)'):
                norm.load_state_dict({**norm.state_dict(), **state})
