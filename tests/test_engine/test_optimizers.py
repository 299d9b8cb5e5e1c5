"""Lion, layer-wise rates and the exponential moving average, against the formulas of their papers."""
import math

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmdet.engine import Lion
from mmdet.errors import UserError
from mmdet.models.layers import ExpMomentumEMA
from mmdet.registry import MODELS, OPTIMIZERS


def test_lion_by_hand():
    weight = nn.Parameter(torch.tensor([1., -2., 3.]))
    lion = OPTIMIZERS.build(dict(type='Lion', params=[weight], lr=0.1, betas=(0.5, 0.75), weight_decay=0.2))
    expected, momentum = [1., -2., 3.], [0., 0., 0.]
    for gradient in ([1., -1., 0.5], [-3., 0.1, -0.2], [0., 0., 0.]):
        weight.grad = torch.tensor(gradient)
        lion.step()
        for i, g in enumerate(gradient):
            update = 0.5 * momentum[i] + 0.5 * g
            expected[i] = expected[i] * (1 - 0.1 * 0.2) - 0.1 * ((update > 0) - (update < 0))
            momentum[i] = 0.75 * momentum[i] + 0.25 * g
        assert weight.tolist() == pytest.approx(expected)
    with pytest.raises(UserError, match='lr=-1'):
        Lion([weight], lr=-1)


def test_adafactor_is_pytorchs():
    assert type(OPTIMIZERS.build(dict(type='Adafactor', params=[nn.Parameter(torch.ones(2))], lr=0.1))) is \
        torch.optim.Adafactor


def detector():
    model = nn.Module()
    model.backbone = MODELS.build(dict(type='ResNet', depth=18, base_channels=4, norm_cfg=dict(type='BN')))
    model.head = nn.Linear(2, 2)
    return model


@pytest.mark.parametrize('kind, layers, expected', [
    ('stage_wise', 4, {'head': 1, 'backbone.conv1': 0.5**5, 'layer1': 0.5**4, 'layer4': 0.5}),
    ('layer_wise', 8, {'head': 1, 'backbone.conv1': 0.5**9, 'layer1.0': 0.5**8, 'layer1.1': 0.5**7, 'layer4.1': 0.5})])
def test_learning_rates_fall_towards_the_image(kind, layers, expected):
    model = detector()
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=2., weight_decay=0.1),
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.5, decay_type=kind, num_layers=layers)))
    of = {id(parameter): group for group in wrapper.optimizer.param_groups for parameter in group['params']}
    assert len(of) == sum(parameter.requires_grad for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        for part, scale in expected.items():
            if f'.{part}.' in f'.{name}' and parameter.requires_grad:
                assert of[id(parameter)]['lr'] == pytest.approx(2 * scale), name
                assert of[id(parameter)]['weight_decay'] == (0.1 if parameter.dim() > 1 else 0)


def test_layer_decay_needs_its_keys():
    with pytest.raises(UserError, match='takes decay_rate, num_layers'):
        build_optim_wrapper(detector(), dict(
            optimizer=dict(type='SGD', lr=1), constructor='LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay_rate=0.5)))


def test_the_average_follows_closely_at_first():
    model = nn.Linear(1, 1, bias=False)
    average = MODELS.build(dict(type='ExpMomentumEMA', momentum=0.01, gamma=2.), default_args=dict(model=model))
    assert isinstance(average, ExpMomentumEMA)
    average.update_parameters(model)  # the first copies
    expected = model.weight.item()
    for step, value in enumerate((3., -1., 2.), 1):
        model.weight.data.fill_(value)
        average.update_parameters(model)
        momentum = 0.99 * math.exp(-(1 + step) / 2) + 0.01
        expected = (1 - momentum) * expected + momentum * value
        assert average.module.weight.item() == pytest.approx(expected)
