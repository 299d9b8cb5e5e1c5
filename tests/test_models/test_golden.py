"""mmdetection 3.3.0's own numbers for mask-rcnn_r50_fpn_1x_coco: every loss, gradient norm and detection."""
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from mask_rcnn import config, data
from scene import everything_sampled, scene

from mmdet.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'


@pytest.fixture(scope='module')
def model():
    cfg = config()
    everything_sampled(cfg)
    model = MODELS.build(cfg)
    fill(model)
    return model


def batch(model, training):
    images, targets = scene(0)
    return model.data_preprocessor(data(images, targets), training)


@pytest.fixture(scope='module')
def golden():
    return np.load(GOLDEN / 'mask_rcnn_r50_fpn.npz')


def test_losses_and_gradients(model, golden):
    losses = model.train()(**batch(model, True), mode='loss')
    for name, value in losses.items():
        assert value.item() == pytest.approx(float(golden[f'loss/{name}']), rel=1e-3), name
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    assert total.item() == pytest.approx(float(golden['loss/loss']), rel=1e-3)
    total.backward()
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.requires_grad}
    expected = {name[10:]: float(golden[name]) for name in golden if name.startswith('grad_norm/')}
    assert norms.keys() == expected.keys()
    for name, value in norms.items():
        assert value == pytest.approx(expected[name], rel=1e-3), name


def test_detections(model, golden):
    samples = model.eval()(**batch(model, False), mode='predict')
    for i, sample in enumerate(samples):
        pred = sample.pred_instances
        assert torch.equal(pred.labels, torch.from_numpy(golden[f'pred{i}/labels']))
        np.testing.assert_allclose(pred.scores.numpy(), golden[f'pred{i}/scores'], rtol=1e-3)
        np.testing.assert_allclose(pred.bboxes.numpy(), golden[f'pred{i}/bboxes'], rtol=1e-3, atol=1e-2)
        areas = pred.masks.to_tensor().flatten(1).sum(1).numpy()
        np.testing.assert_allclose(areas, golden[f'pred{i}/mask_areas'], rtol=1e-3, atol=2)


@pytest.mark.parametrize(('keys', 'options'), [
    ('mask_rcnn_r50_fpn', {}),
    ('mask_rcnn_r50_fpn_gn_all', {
        'backbone.norm_cfg': dict(type='GN', num_groups=32, _delete_=True),
        'neck.norm_cfg': dict(type='GN', num_groups=32),
        'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead', 'roi_head.bbox_head.conv_out_channels': 256,
        'roi_head.bbox_head.norm_cfg': dict(type='GN', num_groups=32),
        'roi_head.mask_head.norm_cfg': dict(type='GN', num_groups=32)}),
])
def test_state_dict_names_and_shapes(keys, options):
    model = MODELS.build(config(**options))
    ours = [f'{name} {tuple(tensor.shape)}' for name, tensor in model.state_dict().items()]
    assert sorted(ours) == sorted((GOLDEN / f'{keys}.keys.txt').read_text().splitlines())
