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
    loads = []
    target.register_load_state_dict_post_hook(lambda *_: loads.append(1))
    misfit = load_weights(target, weights)
    assert len(loads) == 1
    assert misfit.missing_keys == ['0.bias'] and misfit.unexpected_keys == ['head.bias']
    assert misfit.mismatched_keys == {'2.weight': ([7, 4], [2, 4])}
    assert torch.equal(target[0].weight, source[0].weight) and torch.equal(target[2].bias, source[2].bias)
    text = str(misfit)
    assert 'of another shape: 1' in text and 'file [7, 4], model [2, 4]' in text and 'left over in the file: 1' in text
    assert 'num_classes' in text and 'num_classes' not in str(misfit._replace(mismatched_keys={}))
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


def test_shapes_are_compared_before_anything_is_loaded():
    target = model()
    before = target.state_dict()['0.weight'].clone()
    wrong = {name: torch.ones(*value.shape, 2) for name, value in target.state_dict().items()}
    with pytest.raises(ValueError, match=r'nothing in a.pth fits(.|\n)*file \[4, 3, 1, 1, 2\], model \[4, 3, 1, 1\]'):
        load_weights(target, wrong, source='a.pth')
    assert torch.equal(target.state_dict()['0.weight'], before)


def test_an_entry_that_is_no_tensor_is_named():
    for value in ([1., 2.], None):
        with pytest.raises(ValueError, match=f'2.weight in a.pth is a {type(value).__name__}'):
            load_weights(model(), {**model().state_dict(), '2.weight': value}, source='a.pth')


def test_a_number_in_brackets_as_pytorch_0_3_wrote_it():
    weights = {**model().state_dict(), '1.num_batches_tracked': torch.tensor([7])}
    target = model()
    assert not load_weights(target, weights, strict=True) and target[1].num_batches_tracked == 7
