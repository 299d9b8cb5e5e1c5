import pytest
import torch
from each import each
from pairwise import pairwise
from torch import nn

from mmdet.models.roi_heads import bbox_head
from mmdet.ops.rows import ROWS_AT_ONCE
from mmdet.registry import MODELS


@each('shape, bias, dtype, channels_last, as_conv', pairwise(
    [(5, 48), (1, 48), (0, 48), (5, 3, 4, 4), (5, 24, 2, 1), (5, 48, 1, 1), (1, 3, 4, 4), (0, 3, 4, 4)],
    [False, True], [torch.float32, torch.float64], [False, True], [False, True]))
def test_roi_linear_is_linear_on_flattened_features(shape, bias, dtype, channels_last, as_conv, monkeypatch):
    monkeypatch.setattr('mmdet.ops.conv.ROIS_AS_CONV', as_conv)
    torch.manual_seed(0)
    ours = bbox_head.RoILinear(48, 7, bias=bias, dtype=dtype)
    exact = nn.Linear(48, 7, bias=bias, dtype=torch.float64)
    exact.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=dtype)
    if channels_last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    inputs = x.clone().requires_grad_(), x.double().requires_grad_()
    outs = ours(inputs[0]), exact(inputs[1].flatten(1))
    assert outs[0].shape == outs[1].shape and outs[0].dtype == dtype
    grad = torch.randn_like(outs[1])
    grads = [torch.autograd.grad(out, [one, *layer.parameters()], grad.to(out.dtype))
             for out, one, layer in zip(outs, inputs, (ours, exact), strict=True)]
    for value, wanted in zip((outs[0], *grads[0]), (outs[1], *grads[1]), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('as_conv', [False, True])
def test_roi_linear_of_which_some_is_frozen(as_conv, monkeypatch):
    monkeypatch.setattr('mmdet.ops.conv.ROIS_AS_CONV', as_conv)
    layer = bbox_head.RoILinear(48, 7)
    x = torch.randn(5, 3, 4, 4)
    layer(x).sum().backward()
    assert layer.bias.grad.tolist() == [5.] * 7
    torch.testing.assert_close(layer.weight.grad, x.flatten(1).sum(0).expand(7, 48))
    layer.requires_grad_(False)
    x.requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).view(1, 3, 4, 4).expand(5, 3, 4, 4))


def test_roi_linear_under_autocast():
    layer = bbox_head.RoILinear(48, 7)
    with torch.autocast('cpu', torch.bfloat16):
        assert layer(torch.randn(5, 3, 4, 4)).dtype == torch.bfloat16


@each('num_rois, upsample, agnostic', pairwise(
    [0, 1, 2 * ROWS_AT_ONCE + 5], ['deconv', 'nearest', None], [False, True]))
def test_masks_of_a_few_rois_at_a_time(num_rois, upsample, agnostic):
    torch.manual_seed(0)
    head = MODELS.build(dict(type='FCNMaskHead', num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3,
                             class_agnostic=agnostic, upsample_cfg=dict(type=upsample)))
    x, labels = torch.randn(num_rois, 8, 6, 6), torch.arange(num_rois) % 3
    with torch.inference_mode():
        probs = head.predict(x, labels)
        logits = head(x)
    side = 6 if upsample is None else 12
    assert probs.shape == (num_rois, side, side) and probs.dtype == torch.float32
    for prob, logit, label in zip(probs, logits, labels.tolist(), strict=True):
        torch.testing.assert_close(prob, torch.sigmoid(logit[0 if agnostic else label]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('agnostic', [False, True])
def test_deltas_of_a_class(agnostic):
    head = MODELS.build(dict(type='Shared2FCBBoxHead', in_channels=2, roi_feat_size=2, fc_out_channels=4,
                             num_classes=3, reg_class_agnostic=agnostic))
    deltas = torch.arange(5 * (4 if agnostic else 12)).view(5, -1).float().requires_grad_()
    rows, labels = torch.tensor([4, 0, 4, 2]), torch.tensor([2, 0, 1, 3])  # label 3 is background: any finite box
    result = head._of_class(deltas, rows, labels)
    for value, row, label in zip(result[:3].tolist(), rows.tolist(), labels.tolist()):
        start = 0 if agnostic else 4 * label
        assert value == deltas[row, start:start + 4].tolist()
    assert result[3].isfinite().all()
    result[:3].sum().backward()
    assert deltas.grad.sum() == 12 and deltas.grad[1].sum() == deltas.grad[3].sum() == 0
