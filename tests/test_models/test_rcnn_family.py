"""Every detector and RoI head against mmdetection 3.3.0's own numbers: names, losses, gradient norms, detections."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from mask_rcnn import data
from mmengine.structures import InstanceData
from scene import small_scene

sys.path.append(str(Path(__file__).parents[1] / 'peer'))
from cases import CASES, model_config, proposals  # noqa: E402

from mmdet.registry import MODELS  # noqa: E402

GOLDEN = Path(__file__).parents[1] / 'data/golden/rcnn_family.npz'


def batch(model, training):
    loaded = data(*small_scene(), masks=getattr(getattr(model, 'roi_head', None), 'mask_head', None) is not None)
    if type(model).__name__ == 'FastRCNN':
        for sample, boxes in zip(loaded['data_samples'], proposals()):
            sample.proposals = InstanceData(bboxes=boxes, scores=boxes[:, 0] * 0)
    return model.data_preprocessor(loaded, training)


@pytest.mark.parametrize('case', CASES)
def test_numbers_are_mmdetections(case):
    golden = np.load(GOLDEN)
    golden = {name.removeprefix(f'{case}/'): golden[name] for name in golden.files if name.startswith(f'{case}/')}
    model = MODELS.build(model_config(case))
    names = [f'{name} {tuple(value.shape)}' for name, value in model.state_dict().items()]
    assert sorted(names) == sorted(golden['names'].tolist())
    fill(model)

    losses = model.train()(**batch(model, True), mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    expected = {name[5:]: value.item() for name, value in golden.items() if name.startswith('loss/')}
    assert {'loss': total.item(), **{name: value.item() for name, value in losses.items()}} == pytest.approx(
        expected, rel=1e-3)
    total.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert norms == pytest.approx(dict(zip(golden['grad_names'].tolist(), golden['grad_norms'].tolist())), rel=1e-3,
                                  abs=1e-6)

    if case == 'dynamic':
        head = model.roi_head
        moved = [head.assigner.pos_iou_thr, head.bbox_head.loss_bbox.beta]
        np.testing.assert_allclose(moved, golden['moved'], rtol=1e-4)
    for i, sample in enumerate(model.eval()(**batch(model, False), mode='predict')):
        found = sample.pred_instances
        assert torch.equal(found.labels, torch.from_numpy(golden[f'pred{i}/labels']))
        np.testing.assert_allclose(found.scores, golden[f'pred{i}/scores'], rtol=1e-3)
        np.testing.assert_allclose(found.bboxes, golden[f'pred{i}/bboxes'], rtol=1e-3, atol=1e-2)
        if 'masks' in found:
            areas = found.masks.to_tensor().flatten(1).sum(1)
            np.testing.assert_allclose(areas, golden[f'pred{i}/mask_areas'], rtol=1e-3, atol=2)
