"""Every detector and RoI head against mmdetection 3.3.0's own numbers: names, losses, gradient norms, detections."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from mask_rcnn import data, total
from mmengine.config import Config
from mmengine.structures import InstanceData
from no_waits import no_waits
from scene import small_scene

sys.path.append(str(Path(__file__).parents[1] / 'peer'))
from cases import CASES, model_config, proposals  # noqa: E402

from mmdet.apis.complexity import count_costs  # noqa: E402
from mmdet.checkpoints import load_weights, num_classes_of  # noqa: E402
from mmdet.checkpoints.formats import convert  # noqa: E402
from mmdet.engine.check_model import check_model  # noqa: E402
from mmdet.engine.hooks.num_class_check_hook import check_num_classes  # noqa: E402
from mmdet.engine.norm_option import NORMS, apply_norm  # noqa: E402
from mmdet.export.program import check_parts  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402

GOLDEN = Path(__file__).parents[1] / 'data/golden/rcnn_family.npz'


def expected_of(case):
    golden = np.load(GOLDEN)
    return {name.removeprefix(f'{case}/'): golden[name] for name in golden.files if name.startswith(f'{case}/')}


def batch(model, training):
    loaded = data(*small_scene(), masks=getattr(getattr(model, 'roi_head', None), 'mask_head', None) is not None)
    if type(model).__name__ == 'FastRCNN':
        for sample, boxes in zip(loaded['data_samples'], proposals()):
            sample.proposals = InstanceData(bboxes=boxes, scores=boxes[:, 0] * 0)
    return model.data_preprocessor(loaded, training)


@pytest.mark.parametrize('case', CASES)
def test_numbers_are_mmdetections(case):
    golden = expected_of(case)
    model = MODELS.build(model_config(case))
    names = [f'{name} {tuple(value.shape)}' for name, value in model.state_dict().items()]
    assert sorted(names) == sorted(golden['names'].tolist())
    fill(model)

    losses = model.train()(**batch(model, True), mode='loss')
    loss = total(losses)
    expected = {name[5:]: value.item() for name, value in golden.items() if name.startswith('loss/')}
    assert {'loss': loss.item(), **{name: value.item() for name, value in losses.items()}} == pytest.approx(
        expected, rel=1e-3)
    loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert norms == pytest.approx(dict(zip(golden['grad_names'].tolist(), golden['grad_norms'].tolist())), rel=1e-3,
                                  abs=1e-6)

    if case == 'dynamic':
        head = model.roi_head
        model.eval()(**batch(model, True), mode='loss')  # a loss of validation moves nothing
        assert not head.ious
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


@pytest.mark.gpu
@pytest.mark.parametrize('case', CASES)
def test_the_device_gives_these_losses_and_is_not_waited_for(case, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    cfg = model_config(case)
    if case == 'dynamic':
        cfg.train_cfg.rcnn.dynamic_rcnn.update_iter_interval = 100  # each update does wait
    model = MODELS.build(cfg)
    fill(model)
    loaded = batch(model.cuda().train(), True)
    losses = model(**loaded, mode='loss')
    total(losses).backward()
    expected = {name[5:]: value.item() for name, value in expected_of(case).items() if name.startswith('loss/')}
    found = {'loss': total(losses).item(), **{name: value.item() for name, value in losses.items()}}
    assert found == pytest.approx(expected, rel=2e-3)
    with no_waits():
        total(model(**loaded, mode='loss')).backward()


@pytest.mark.parametrize('norm', NORMS)
def test_every_norm_trains_a_step_and_predicts(norm, subtests):
    for case, places in (('cascade_mask', ['neck', *(f'roi_head.{kind}_head.{i}' for kind in ('bbox', 'mask')
                                                     for i in range(3))]),
                         ('rpn', ['neck']), ('fast', ['neck', 'roi_head.bbox_head']), ('c4', ['roi_head.shared_head'])):
        with subtests.test(case=case):
            cfg = Config(dict(model=model_config(case), train_cfg=dict(max_epochs=1)))
            for stage in np.atleast_1d(cfg.model.train_cfg.get('rcnn', [])):
                stage.sampler.update(num=16, pos_fraction=0.5)
            cfg.model.test_cfg.get('rcnn', {})['max_per_img'] = 3
            apply_norm(cfg, norm)
            model = MODELS.build(cfg.model)
            model.init_weights()
            for module in model.modules():
                if hasattr(module, 'set_epoch_length'):
                    module.set_epoch_length(1)
            kind = MODELS.get(norm)
            for place in places:
                assert any(type(module) is kind for module in model.get_submodule(place).modules()), place
            losses = model.train()(**batch(model, True), mode='loss')
            loss = total(losses)
            loss.backward()
            assert loss.isfinite()
            missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
            assert not missing
            assert len(model.eval()(**batch(model, False), mode='predict')) == 2


def test_whoever_asks_for_a_head_knows_a_cascade():
    cfg = model_config('cascade_mask')
    check_model(cfg)
    model = MODELS.build(cfg).eval()
    assert num_classes_of(model) == 80
    assert [type(head).__name__ for head in model.heads()] == ['RPNHead', *['Shared2FCBBoxHead', 'FCNMaskHead'] * 3]
    costs = count_costs(model, 64, 64)
    assert costs.under('roi_head.bbox_head.0').flops == costs.under('roi_head.bbox_head.2').flops > 0
    assert costs.under('roi_head.mask_roi_extractor.1').flops > 0
    assert count_costs(MODELS.build(model_config('rpn')), 64, 64).under('bbox_head').flops > 0
    with pytest.raises(ValueError, match='CascadeRoIHead has stages of its own'):
        check_parts(model)
    with pytest.raises(ValueError, match=r'roi_head.bbox_head.0.num_classes is 80, .* 2 classes'):
        check_num_classes(model, type('Data', (), dict(metainfo=dict(classes=('a', 'b')))))
    for key, value, message in (
            ('roi_head.bbox_head.1.num_classes', 7, r'bbox_head.0.num_classes is 80, roi_head.bbox_head.1.num_classes'),
            ('roi_head.mask_head.in_channels', 9, 'roi_head.mask_head.in_channels is 9, roi_head.mask_roi_extractor'),
            ('roi_head.bbox_head.2.roi_feat_size', 9, r'bbox_head.2.roi_feat_size is 9, roi_head.bbox_roi_extractor')):
        wrong = Config(dict(model=model_config('cascade_mask')))
        wrong.merge_from_dict({f'model.{key}': value})
        with pytest.raises(ValueError, match=message):
            check_model(wrong.model)
    cfg.train_cfg.rcnn = cfg.train_cfg.rcnn[:2]
    with pytest.raises(ValueError, match='train_cfg.rcnn is a list of 2, but roi_head.num_stages is 3'):
        MODELS.build(cfg)


def test_a_cascade_of_mmdetection_1_and_an_rpn_out_of_a_detector():
    """1.x: heads outside roi_head, the background's row first."""
    model = MODELS.build(model_config('cascade_by_class'))
    fill(model)
    old = {}
    for name, value in model.state_dict().items():
        if name.endswith(('fc_cls.weight', 'fc_cls.bias')):
            value = torch.cat([value[-1:], value[:-1]])
        elif 'fc_reg' in name:
            value = torch.cat([value[:4] * 0, value])
        elif 'conv_logits' in name:
            value = torch.cat([value[:1] * 0, value])
        old[name.removeprefix('roi_head.')] = value
    again = MODELS.build(model_config('cascade_by_class'))
    load_weights(again, convert(dict(state_dict=old), 'old.pth'), strict=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())

    rpn = MODELS.build(model_config('rpn'))
    fill(rpn)
    of_detector = {name.replace('bbox_head.', 'rpn_head.'): value for name, value in rpn.state_dict().items()}
    again = MODELS.build(model_config('rpn'))
    load_weights(again, dict(state_dict=of_detector), strict=True)
    assert torch.equal(again.bbox_head.rpn_cls.weight, rpn.bbox_head.rpn_cls.weight)
