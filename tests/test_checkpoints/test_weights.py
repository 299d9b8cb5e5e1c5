import pytest
import torch
from torch import nn

from mmdet.checkpoints import load_weights, weights_of


def model():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_everything_fits():
    source, target = model(), model()
    misfit = load_weights(target, dict(state_dict=source.state_dict()), strict=True)
    assert not misfit
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_prefix_of_distributed_data_parallel_is_dropped():
    source = model()
    wrapped = {f'module.{name}': value for name, value in source.state_dict().items()}
    assert list(weights_of(dict(state_dict=wrapped))) == list(source.state_dict())


def test_misfits_are_listed_and_the_rest_is_loaded():
    source, target = model(), model()
    weights = source.state_dict()
    weights['2.weight'] = torch.zeros(7, 4)
    weights['head.bias'] = torch.zeros(1)
    del weights['0.bias']
    misfit = load_weights(target, weights)
    assert misfit.missing == ['0.bias'] and misfit.left_over == ['head.bias']
    assert misfit.other_shape == {'2.weight': ('[7, 4]', '[2, 4]')}
    assert torch.equal(target[0].weight, source[0].weight) and torch.equal(target[2].bias, source[2].bias)
    text = str(misfit)
    assert 'of another shape: 1' in text and 'file [7, 4], model [2, 4]' in text and 'left over in the file: 1' in text
    with pytest.raises(ValueError, match='a.pth does not fit Sequential(.|\n)*0.bias'):
        load_weights(target, weights, strict=True, source='a.pth')


def test_step_counters_may_be_missing():
    weights = model().state_dict()
    del weights['1.num_batches_tracked']
    assert not load_weights(model(), weights, strict=True)


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ValueError, match='nothing in a.pth fits Sequential'):
        load_weights(model(), {'other.weight': torch.zeros(1), '2.bias': torch.zeros(9)}, source='a.pth')
    with pytest.raises(ValueError, match='nothing in a.pth fits'):
        load_weights(model(), {}, source='a.pth')


def test_long_tables_are_cut():
    many = nn.ModuleList(nn.Linear(1, 1) for _ in range(40))
    text = str(load_weights(many, {'0.bias': torch.ones(1)}))
    assert 'missing in the file: 79' in text and '... and 73 more' in text and len(text.splitlines()) < 12
