"""Tensors that do not belong together are refused by name, before a kernel reads them."""
import inspect
import math
import typing

import pytest
import torch

from mmdet import ops


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


def history(slots=2, groups=1, channels=4, size=9):
    return dict(patch=ones(slots, groups, size), slope=ones(slots, channels, size),
                **{name: ones(slots, channels) for name in ('mean', 'mean0', 'var0')})


def cbn(weight=None, bias=None, stored=None, patch=None, slope=None, mean=None, variance=None, first=0, count=0):
    return ops.cbn_statistics(*(default if value is None else value for value, default in (
        (weight, ones(4, 9)), (bias, None), (stored, history()), (patch, ones(1, 9)), (slope, ones(4, 9)),
        (mean, ones(4)), (variance, ones(4)))), first, count)


FEATURES = ones(2, 4, 16, 16)
MISTAKES = {
    'scaled_sum, sizes': (ValueError, lambda: ops.scaled_sum(FEATURES, ones(2, 4, 16, 15), *[ones(4)] * 3)),
    'scaled_sum, channels': (ValueError, lambda: ops.scaled_sum(FEATURES, FEATURES, ones(4), ones(3), ones(4))),
    'scaled_sum, dimensions': (ValueError, lambda: ops.scaled_sum(ones(2, 4), ones(2, 4), *[ones(4)] * 3)),
    'scaled_sum, dtypes': (TypeError, lambda: ops.scaled_sum(FEATURES, FEATURES.double(), *[ones(4)] * 3)),
    'scaled_sum, wide': (TypeError, lambda: ops.scaled_sum(FEATURES.double(), FEATURES.double(), *[ones(4)] * 3)),
    'conv2d_weight_grad, channels': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (4, 3, 3, 3), FEATURES,
                                                                                padding=(1, 1))),
    'conv2d_weight_grad, outputs': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (5, 4, 3, 3), FEATURES,
                                                                               padding=(1, 1))),
    'conv2d_weight_grad, size': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (4, 4, 3, 3), FEATURES)),
    'conv2d_weight_grad, batch': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (4, 4, 3, 3), FEATURES[:1],
                                                                             padding=(1, 1))),
    'conv2d_weight_grad, offset': (ValueError, lambda: ops.conv2d_weight_grad(
        FEATURES, (4, 4, 3, 3), FEATURES, padding=(1, 1), offset=ones(3))),
    'conv2d_weight_grad, dtype': (TypeError, lambda: ops.conv2d_weight_grad(
        FEATURES, (4, 4, 3, 3), FEATURES, padding=(1, 1), offset=ones(4, dtype=torch.float64))),
    'scatter_matrix, dimensions': (ValueError, lambda: ops.scatter_matrix(ones(4, 5), ones(5))),
    'scatter_matrix, channels': (ValueError, lambda: ops.scatter_matrix(FEATURES, ones(3))),
    'scatter_matrix, dtype': (TypeError, lambda: ops.scatter_matrix(FEATURES, ones(4, dtype=torch.bfloat16))),
    'mean_patch, dimensions': (ValueError, lambda: ops.mean_patch(ones(4, 5), (1, 1))),
    'mean_variance, dimensions': (ValueError, lambda: ops.mean_variance(ones(4, 5))),
    'normalize, channels': (ValueError, lambda: ops.normalize(FEATURES, *[ones(3)] * 4, 1e-5, 512)),
    'cbn_statistics, weights': (ValueError, lambda: cbn(weight=ones(4, 8))),
    'cbn_statistics, channels': (ValueError, lambda: cbn(mean=ones(3))),
    'cbn_statistics, bias': (ValueError, lambda: cbn(bias=ones(3))),
    'cbn_statistics, groups': (ValueError, lambda: cbn(patch=ones(3, 9), stored=history(groups=3))),
    'cbn_statistics, history': (ValueError, lambda: cbn(stored=dict(history(), mean0=ones(1, 4)))),
    'cbn_statistics, first': (ValueError, lambda: cbn(first=2)),
    'cbn_statistics, count': (ValueError, lambda: cbn(count=3)),
    'cbn_statistics, dtype': (TypeError, lambda: cbn(slope=ones(4, 9, dtype=torch.float64))),
    'cbn_statistics, memory': (ValueError, lambda: cbn(weight=ones(9, 4).T)),
    'linear_rois, weights': (ValueError, lambda: ops.linear_rois(ones(5, 4, 3, 3), ones(2, 35))),
    'crop_masks, height': (ValueError, lambda: ops.crop_masks(
        torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), ones(1, 4), torch.tensor([0]), 7, -1, 9)),
    'crop_masks, window': (ValueError, lambda: ops.crop_masks(
        torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 2**62, 9]]), ones(1, 4), torch.tensor([0]), 7, 9, 9)),
    'crop_masks, pixels': (ValueError, lambda: ops.crop_masks(
        torch.zeros(8, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), ones(1, 4), torch.tensor([0]), 7, 9, 9)),
    'crop_masks, index': (ValueError, lambda: ops.crop_masks(
        torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), ones(1, 4), torch.tensor([-1]), 7, 9, 9)),
    'crop_masks, size': (TypeError, lambda: ops.crop_masks(
        torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), ones(1, 4), torch.tensor([0]), 7., 9, 9)),
    'roi_align, samples': (ValueError, lambda: ops.roi_align(FEATURES, ones(1, 5), 7, sampling_ratio=2**40)),
    'roi_align, image': (ValueError, lambda: ops.roi_align(FEATURES, torch.tensor([[torch.nan, 0, 0, 3, 3]]), 7)),
    'roi_align, scale': (ValueError, lambda: ops.roi_align(FEATURES, ones(1, 5), 7, math.nan)),
    'roi_align, output size': (TypeError, lambda: ops.roi_align(FEATURES, ones(1, 5), '7')),
    'roi_align, half an output': (TypeError, lambda: ops.roi_align(FEATURES, ones(1, 5), 3.5)),
    'nms, threshold': (ValueError, lambda: ops.nms(ones(2, 4), ones(2), math.nan)),
    'nms_images, max_keep': (ValueError, lambda: ops.nms_images(
        ones(1, 2, 4), ones(1, 2), torch.zeros(1, 2, dtype=torch.long), 0.5, -1)),
    'bias_relu, devices': (ValueError, lambda: ops.bias_relu(FEATURES, ones(4).to('meta'))),
    'bias_relu, dtypes': (TypeError, lambda: ops.bias_relu(FEATURES.bool())),
    'linear_rois, bias': (ValueError, lambda: ops.linear_rois(ones(5, 36), ones(2, 36), ones(3))),
    'map_rows, lengths': (ValueError, lambda: ops.map_rows(torch.add, ones(3), ones(2))),
    'mean_patch, dtype': (TypeError, lambda: ops.mean_patch(FEATURES.long(), (1, 1))),
    'mean_patch, stride': (ValueError, lambda: ops.mean_patch(FEATURES, (1, 1), stride=(0, 1))),
    'mean_variance, rows': (ValueError, lambda: ops.mean_variance(FEATURES, torch.ones(3, dtype=torch.bool))),
    'normalize, devices': (ValueError, lambda: ops.normalize(FEATURES, *[ones(4)] * 3, ones(4).to('meta'), 1e-5, 512)),
    'normalize, dtypes': (TypeError, lambda: ops.normalize(FEATURES, *[ones(4)] * 3, ones(4).long(), 1e-5, 512)),
    'group_norm, groups': (TypeError, lambda: ops.group_norm(FEATURES, 2., None, None)),
    'group_norm, eps': (ValueError, lambda: ops.group_norm(FEATURES, 2, None, None, math.nan)),
    'conv2d_weight_grad, padding': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (4, 4, 3, 3), FEATURES,
                                                                               padding=(1,))),
    'conv2d_weight_grad, kernel': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (4, 4), FEATURES)),
    'conv2d_weight_grad, no outputs': (ValueError, lambda: ops.conv2d_weight_grad(FEATURES, (0, 4, 3, 3), FEATURES)),
    'variance_slope, rank': (ValueError, lambda: ops.variance_slope(FEATURES, ones(4, 4), FEATURES, *[ones(4)] * 2)),
    'cbn_statistics, missing': (ValueError, lambda: cbn(stored=dict(patch=ones(1)))),
    'cbn_statistics, first, type': (TypeError, lambda: cbn(first=0.5)),
    'paste_masks, threshold': (ValueError, lambda: ops.paste_masks(ones(1, 7, 7), ones(1, 4), 9, 9, math.nan)),
    'paste_masks, width': (ValueError, lambda: ops.paste_masks(ones(1, 7, 7), ones(1, 4), 9, -1, 0.5)),
}


def test_is_refused_by_name(subtests):
    for mistake, (error, call) in MISTAKES.items():
        with subtests.test(mistake):
            with pytest.raises(error, match=f'^{mistake.split(",")[0]}: '):
                call()


@pytest.mark.parametrize('options', [dict(weight=ones(16, 15, 3, 3)), dict(bias=ones(15)),
                                     dict(bias=ones(16, dtype=torch.float64))], ids=str)
def test_conv2d_refuses_as_pytorch_does(options):
    """At a size that our own kernel serves."""
    options = dict(dict(weight=ones(16, 16, 3, 3)), **options)
    with pytest.raises(RuntimeError) as theirs:
        torch.nn.functional.conv2d(ones(2, 16, 40, 40), padding=(1, 1), **options)
    with pytest.raises(RuntimeError) as ours:
        ops.conv2d(ones(2, 16, 40, 40), padding=(1, 1), **options)
    assert str(ours.value) == str(theirs.value)


def test_options_that_are_not_given_are_pytorchs():
    theirs = inspect.signature(torch.nn.Conv2d).parameters
    for function in (ops.conv2d, ops.conv2d_weight_grad, ops.deform_conv2d, ops.mean_patch, ops.variance_slope):
        ours = inspect.signature(function).parameters
        assert all(ours[name].default == (theirs[name].default,) * 2 for name in ('stride', 'padding', 'dilation'))
        assert 'groups' not in ours or ours['groups'].default == theirs['groups'].default


def test_strided_arguments_are_read_in_their_order():
    values = torch.randn(4, 3)
    expected = ops.scaled_sum(FEATURES, FEATURES, *values.T.contiguous())
    assert torch.equal(ops.scaled_sum(FEATURES, FEATURES, *values.T), expected)
    x = torch.randn(2, 4, 9, 9)
    assert torch.equal(ops.scatter_matrix(x, values[:, 0]), ops.scatter_matrix(x, values[:, 0].contiguous()))
    weight, bias = torch.randn(16, 16, 3, 3), torch.randn(16, 2)
    x = torch.randn(2, 16, 40, 40)
    torch.testing.assert_close(ops.conv2d(x, weight, bias[:, 0], padding=(1, 1)),
                               torch.nn.functional.conv2d(x, weight, bias[:, 0], padding=1), rtol=1e-4, atol=1e-4)


def test_help_tells_shapes_and_errors(subtests):
    """Types of all arguments, and the docstring's parts."""
    for name in sorted({*ops.__all__} - {'Conv2d', 'backend'}):
        with subtests.test(name):
            function = getattr(ops, name)
            told = function.__doc__
            assert 'Args:' in told and 'Returns:' in told
            parameters = inspect.signature(function).parameters
            assert {*parameters, 'return'} == set(typing.get_type_hints(function))
