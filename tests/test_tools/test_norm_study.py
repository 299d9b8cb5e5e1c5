"""The norm study runs, goes on and draws; its devices are separate networks; its errors are those of the definition."""
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from run_tool import ROOT
from torch.nn import functional as F

sys.path.insert(0, str(ROOT / 'tools/analysis'))
import norm_study  # noqa: E402
import study_oracle  # noqa: E402
import study_plots  # noqa: E402
import study_statistics  # noqa: E402
import study_training  # noqa: E402
from slope_window import Window, errors  # noqa: E402
from study_network import ConvNorm, Network  # noqa: E402

from mmdet.models.layers import ConvModule  # noqa: E402


def test_a_study_goes_on_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(norm_study, 'PICTURES', dict(train=64, val=16, test=16))
    monkeypatch.setattr(study_training, 'PRECISE_STEPS', 2)

    def study(*args):
        monkeypatch.setattr(sys, 'argv', ['', '--out', str(tmp_path / 'results.jsonl'), '--jobs', '1', '--batch', '4',
                                          '--task', 'textures', '--seeds', '1',
                                          '--first-seed', '3', '--steps', '4', '--images', '4', '2', '--probes', '1',
                                          *args])
        norm_study.main()
        return capsys.readouterr().out
    save = study_plots.save  # draws, which costs most
    monkeypatch.setattr(study_plots, 'save', lambda figure, path: (
        save(figure, path) if 'layers' in path.name else path.touch()))
    with monkeypatch.context() as once:
        once.setattr(study_plots, 'draw', lambda lines, folder: None)
        study('--norms', 'BN')
    text = study('--norms', 'BN', 'CBN, buffer 1')
    assert '2 trainings to do, 2 found' in text
    lines = [json.loads(line) for line in (tmp_path / 'results.jsonl').read_text().splitlines()]
    assert [(line['norm'], line['images'], line['seed']) for line in lines] == [
        ('BN', 4, 3), ('BN', 2, 3), ('CBN, buffer 1', 4, 3), ('CBN, buffer 1', 2, 3)]
    assert sorted(file.name.split('_')[0] for file in tmp_path.glob('*.png')) == ['accuracy', 'estimates', 'layers']
    rows = {row.split('|')[1].strip(): [cell.strip() for cell in row.split('|')[2:-1]]
            for row in text.split('| test accuracy')[1].split('\n\n')[0].splitlines()[2:]}
    text = study('--norms', 'GN', "oracle, CBN's gradient", '--images', '2', '--pretrain', '2', '--map', '8')
    assert '2 trainings to do, 4 found' in text and '4 steps of 4 pictures after 2 of BN, last maps 8 x 8' in text
    # Four processes of 2 images are 8, of which there are 4.
    assert rows['BN'] == [f'{line["test"]:.1f}' for line in lines[:2]]
    assert rows['SyncBN, 4 processes'] == rows['BN'][:1] * 2


@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), dict(type='GN', num_groups=4), dict(type='CBN', buffer_num=1)],
                         ids=lambda cfg: cfg['type'])
def test_devices_are_networks_that_share_weights(norm_cfg):
    nets = study_training.Devices(3, norm_cfg, seeds=[5, 6], devices=2, device='cpu')
    torch.manual_seed(6)
    alone = [Network(3, norm_cfg).train() for _ in range(2)]
    alone[1].load_state_dict(alone[0].state_dict())
    for _ in range(2):
        x, labels = torch.randn(8, 1, 32, 32), torch.randint(3, (8,))
        (F.cross_entropy(nets.wide(x), labels) * 2).backward()
        nets.gather()
        losses = [F.cross_entropy(net(half), truth) / 2
                  for net, half, truth in zip(alone, x[4:].split(2), labels[4:].split(2), strict=True)]
        grads = [torch.autograd.grad(loss, list(net.parameters())) for loss, net in zip(losses, alone, strict=True)]
        for own, *expected in zip(nets.own.parameters(), *grads, strict=True):
            torch.testing.assert_close(nets.by_seed(own.grad)[1], sum(expected), rtol=1e-3, atol=1e-4)
    nets.keep_statistics()
    more = study_training.Devices(3, norm_cfg, seeds=[1, 2], devices=4, device='cpu')
    more.start_from(nets.own.state_dict())
    torch.testing.assert_close(more.wide.eval()(x), nets.own.eval()(x), rtol=1e-3, atol=1e-4)


def test_errors_of_compensated_statistics():
    nets = study_training.Devices(3, dict(type='CBN', buffer_num=1), seeds=[0], devices=2, device='cpu')
    watch = study_statistics.Watch(nets, 1, SimpleNamespace(steps=4, probes=1))
    assert watch.steps == {3}
    del watch.layers[1:], watch.seen[1:]  # the first convolution, whose inputs are the pictures
    conv = nets.own.body[0].conv
    first, second = torch.randn(2, 8, 1, 32, 32)
    old = conv.weight.detach().double()
    for step, x in ((2, first), (3, second)):
        watch.before(step, x)
        nets.wide(x)
        if step == 2:
            with torch.no_grad():
                conv.weight.add_(0.005 * torch.randn_like(conv.weight))
            nets.spread()
    assert watch.due(3) and not watch.due(2)
    found = study_statistics.estimates(nets, watch, [first])

    new = conv.weight.detach().double()
    for estimate in ('average', 'compensated'):
        off = []
        for then, now in zip(first.double().split(4), second.double().split(4), strict=True):  # device by device
            def statistics(x, weight):
                y = F.conv2d(x, weight, stride=2, padding=1)
                return torch.stack([y.mean((0, 2, 3)), y.var((0, 2, 3), correction=0)])
            stored = statistics(then, old)
            if estimate == 'compensated':
                stored = stored + torch.func.jvp(lambda weight, x=then: statistics(x, weight), (old,), (new - old,))[1]
            used = torch.stack([stored, statistics(now, new)])
            true = torch.stack([statistics(then, new), statistics(now, new)])
            mean, true_mean = used[:, 0].mean(0), true[:, 0].mean(0)
            variance, true_variance = (s[:, 1].mean(0) + s[:, 0].var(0, correction=0) for s in (used, true))
            off.append(torch.stack([(mean - true_mean).abs() / true_variance.sqrt(),
                                    (variance / true_variance).log().abs()]).mean(1))
        expected = torch.stack(off).mean(0)
        for truth in ('inputs', 'window'):
            assert found[f'{estimate}/{truth}'][0] == pytest.approx(expected.tolist(), rel=0.01, abs=1e-4)
    assert found['average/inputs'][0][1] > 3 * found['compensated/inputs'][0][1]


def test_slope_error_sees_what_cbn_did():
    """Its estimate by slopes of all positions is the one that CBN normalized with."""
    torch.manual_seed(0)
    layer = ConvModule(3, 8, 3, padding=1, norm_cfg=dict(type='CBN', buffer_num=2)).double()
    window = Window(layer.norm)
    for _ in range(4):
        layer(torch.randn(2, 3, 9, 8, dtype=torch.float64))
        with torch.no_grad():
            layer.conv.weight += 0.005 * torch.randn_like(layer.conv.weight)
    layer(torch.randn(2, 3, 9, 8, dtype=torch.float64))
    _, _, compensated, *_ = found = window.estimates()
    for value, expected in zip(layer.norm._recent[-1][1], compensated, strict=True):
        torch.testing.assert_close(value, expected)
    rows = errors(found)
    assert rows[1].max() < rows[0].max() / 3 and len(rows) == len(found) - 1


class Plain(torch.nn.Module):
    """BN by the formula, over the rows of a window, the first `now` of which are this iteration's."""

    def __init__(self, channels, now, gradient):
        super().__init__()
        self.weight, self.bias = (torch.nn.Parameter(start(channels)) for start in (torch.ones, torch.zeros))
        self.now, self.gradient = now, gradient

    def forward(self, y):
        now = y[:self.now]
        counted = y if self.gradient == 'whole' else torch.cat([now, y[self.now:].detach()])
        mean = counted.mean((0, 2, 3), keepdim=True)
        std = ((counted - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        if self.gradient == 'none':
            mean, std = mean.detach(), std.detach()
        out = (y - mean) / std
        if self.gradient == 'batch':
            own = F.batch_norm(now, None, None, training=True)
            own_std = (now.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
            own = own * (own_std / std).detach() + ((now.mean((0, 2, 3), keepdim=True) - mean) / std).detach()
            out = torch.cat([own, out[self.now:]])
        return out * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


@pytest.mark.parametrize('gradient', ['whole', 'share', 'batch', 'none'])
def test_oracle_normalizes_by_the_whole_window(gradient):
    norm_cfg = dict(type='StudyOracle', gradient=gradient)
    nets = study_training.Devices(3, norm_cfg, seeds=[5], devices=2, device='cpu')
    nets.own.double()
    nets.wide.double()
    window = study_oracle.Window(nets, norm_cfg)
    first, second = torch.randn(2, 4, 1, 32, 32, dtype=torch.double)
    labels = torch.randint(3, (4,))
    window(first)
    with torch.no_grad():  # a step of training: the older pictures are to pass through the weights of today
        for parameter in nets.own.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    nets.spread()
    scores = window(second)
    F.cross_entropy(scores, labels).backward()
    nets.gather()

    one = Network(3, dict(type='GN', num_groups=1)).double()
    for layer in [module for module in one.modules() if isinstance(module, ConvNorm)]:
        layer.norm = Plain(layer.conv.out_channels, 2, gradient).double()
    for parameter, value in zip(one.parameters(), nets.own.parameters(), strict=True):
        parameter.data.copy_(value)
    expected = torch.cat([one(torch.cat(parts))[:2] for parts in zip(second.split(2), first.split(2), strict=True)])
    torch.testing.assert_close(scores, expected)
    grads = torch.autograd.grad(F.cross_entropy(expected, labels), list(one.parameters()))
    for parameter, grad in zip(nets.own.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


def test_cbn_with_the_whole_gradient():
    torch.manual_seed(0)
    layer, plain = (ConvNorm(1, 4, 3, 1, cfg, 1).double() for cfg in
                    (dict(type='StudyCBN', gradient='whole'), dict(type='CBN', buffer_num=study_oracle.BUFFER)))
    plain.load_state_dict(layer.state_dict())
    first, second, grad = torch.randn(3, 2, 1, 6, 6, dtype=torch.double)
    both, grad = torch.cat([second, first]), grad.repeat(1, 4, 1, 1)
    for used in (layer, plain):
        used(first)
    out = layer(both, relu=False)[:2]
    torch.testing.assert_close(out, plain(second, relu=False))
    # No weight has moved: CBN's statistics are the window's, and the whole gradient is that of BN over all of it.
    grads = torch.autograd.grad((out * grad).sum(), list(layer.parameters()))
    bn = ConvNorm(1, 4, 3, 1, dict(type='BN'), 1).double()
    bn.conv.load_state_dict(layer.conv.state_dict())
    expected = torch.autograd.grad((bn(both, relu=False)[:2] * grad).sum(), list(bn.parameters()))
    torch.testing.assert_close(grads, expected)
