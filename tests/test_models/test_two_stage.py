"""The whole detector at small width: unusual batches, options, precision, and the two stages against loops."""
import pytest
import torch
import torchvision
from mask_rcnn import ALL_PROPOSED, ALL_SAMPLED, SMALL, build, config, data, losses, norms, total
from scene import scene, small_scene

from mmdet.errors import UserError
from mmdet.models.roi_heads import standard_roi_head
from mmdet.registry import MODELS


@pytest.mark.parametrize('kept', [0, 1])
def test_images_without_objects(kept):
    images, targets = scene(0)
    targets = [{name: value[:0 if i >= kept else None] for name, value in t.items()} for i, t in enumerate(targets)]
    model = build().train()
    result = losses(model, images, targets)
    total(result).backward()
    assert total(result).isfinite()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if kept == 0:
        assert result['loss_rpn_bbox'] == result['loss_bbox'] == result['loss_mask'] == 0


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'GN', 'CBN', 'FrozenBN'])
def test_every_norm_everywhere_survives_images_without_objects(norm):
    model = build(**norms(dict(type=norm, num_groups=8) if norm == 'GN' else dict(type=norm))).train()
    images, targets = scene(0)
    for part in (slice(None), slice(0)):
        result = total(losses(model, images, [{name: value[part] for name, value in t.items()} for t in targets]))
        result.backward()
        assert result.isfinite()
    samples = model.eval()(**model.data_preprocessor(data(images, targets), False), mode='predict')
    assert all(sample.pred_instances.bboxes.isfinite().all() for sample in samples)


def test_faster_rcnn_needs_no_masks():
    cfg = config(**SMALL)
    cfg.type = 'FasterRCNN'
    del cfg.roi_head['mask_head'], cfg.roi_head['mask_roi_extractor']
    model = MODELS.build(cfg).train()
    names = set(losses(model, *scene(0), masks=False))
    assert names == {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'}


def test_mask_rcnn_without_mask_head_is_refused():
    cfg = config(**SMALL)
    del cfg.roi_head['mask_head']
    with pytest.raises(ValueError, match='FasterRCNN'):
        MODELS.build(cfg)


def test_a_loss_without_ground_truth_is_refused():
    model = build().train()
    batch = model.data_preprocessor(data(*scene(0)), False)
    with pytest.raises(ValueError, match='gt, which data_preprocessor'):
        model(**batch, mode='loss')


def test_class_agnostic_heads():
    model = build(**{'roi_head.bbox_head.reg_class_agnostic': True, 'roi_head.mask_head.class_agnostic': True}).train()
    assert model.roi_head.bbox_head.fc_reg.out_features == 4
    total(losses(model, *scene(0))).backward()


def test_bfloat16_stays_near_float32():
    model = build().train()
    torch.manual_seed(1)
    full = losses(model, *scene(0))
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        half = losses(model, *scene(0))
    total(half).backward()
    assert float(total(half)) == pytest.approx(float(total(full)), rel=0.05)


def test_no_detections_give_empty_results():
    model = build(**{'test_cfg.rcnn.score_thr': 0.999}).eval()
    images, targets = scene(0)
    for sample in model(**model.data_preprocessor(data(images, targets), False), mode='predict'):
        pred = sample.pred_instances
        assert pred.bboxes.shape == (0, 4) and len(pred.scores) == 0
        assert pred.masks.to_tensor().shape == (0, *sample.ori_shape)


def test_results_lie_in_the_original_image():
    model = build(**{'test_cfg.rcnn.score_thr': 0.0}).eval()
    images, targets = scene(0)
    plain = model(**model.data_preprocessor(data(images, targets), False), mode='predict')
    loaded = data(images, targets)
    for sample in loaded['data_samples']:
        h, w = sample.img_shape
        sample.set_metainfo(dict(ori_shape=(h // 2, w * 2), scale_factor=(0.5, 2.0)))
    scaled = model(**model.data_preprocessor(loaded, False), mode='predict')
    for a, b in zip(plain, scaled):
        factor = torch.tensor([2., 0.5, 2., 0.5])
        torch.testing.assert_close(b.pred_instances.bboxes, a.pred_instances.bboxes * factor)
        assert b.pred_instances.masks.to_tensor().shape[1:] == b.ori_shape


def test_proposals_equal_loops_over_images_and_levels():
    model = build().eval()
    head = model.rpn_head
    torch.nn.init.normal_(head.rpn_cls.weight, std=0.5)
    images, targets = scene(0)
    noise = [torch.randint(0, 256, image.shape, dtype=torch.uint8) for image in images]  # no two scores are equal
    batch = model.data_preprocessor(data(noise, targets), False)
    with torch.no_grad():
        features = model.extract_feat(batch['inputs'])
        sizes = [tuple(f.shape[2:]) for f in features]
        logits, deltas = head(features)
    image_sizes = torch.tensor([[256., 320.], [224., 288.]])
    cfg = dict(nms_pre=100, max_per_img=120, nms=dict(type='nms', iou_threshold=0.6), min_bbox_size=9)
    boxes, scores, valid = head.proposals(logits, deltas, sizes, image_sizes, cfg)
    anchors = head.anchor_generator(sizes, torch.device('cpu')).split([level.shape[1] for level in logits])
    for i in range(2):
        kept = []
        for level, (logit, delta) in enumerate(zip(logits, deltas)):
            best = logit[i].argsort(descending=True)[:100]
            decoded = head.bbox_coder.decode(anchors[level][best], delta[i][best])
            decoded = torchvision.ops.clip_boxes_to_image(decoded, image_sizes[i].tolist())
            score = logit[i][best].sigmoid()
            large = torchvision.ops.remove_small_boxes(decoded, 9.0001)
            decoded, score = decoded[large], score[large]
            keep = torchvision.ops.nms(decoded, score, 0.6)
            kept.append(torch.cat([decoded, score[:, None]], 1)[keep])
        expected = torch.cat(kept)
        expected = expected[expected[:, 4].argsort(descending=True, stable=True)][:120]
        assert valid[i].sum() == len(expected)
        torch.testing.assert_close(scores[i][valid[i]], expected[:, 4])
        torch.testing.assert_close(boxes[i][valid[i]], expected[:, :4])


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'CBN'])  # the others look at each row by itself
def test_padding_rows_change_nothing(norm, monkeypatch):
    """What GPUs compute (all rows, padding among them) equals what CPUs compute: losses, gradients and statistics."""
    norm_cfg = dict(type=norm, **(dict(buffer_num=2) if norm == 'CBN' else {}))
    half_real = {'train_cfg.rpn_proposal.max_per_img': 250, 'train_cfg.rcnn.sampler.num': 500}
    models = [build(**norms(norm_cfg), **half_real).train() for _ in range(2)]
    images, targets = scene(0)
    # Of an image's objects. Without rows CBN has no iteration on CPUs, on GPUs one of the running statistics.
    every, one, none = slice(None), slice(1), slice(0)
    parts = dict(BN=[every, one, none], SyncBN=[one], CBN=[every, one, every])[norm]
    results = []
    for model, rows in zip(models, (standard_roi_head.select_rois, lambda real, every, *_: (every, real[every]))):
        monkeypatch.setattr(standard_roi_head, 'select_rois', rows)
        found = []
        for seed, part in enumerate(parts):
            torch.manual_seed(seed)
            model.zero_grad()
            step = losses(model, images, [{name: value[part] for name, value in t.items()} for t in targets])
            total(step).backward()
            found += [step, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}]
        results.append([*found, model.state_dict()])
    for compact, padded in zip(*results, strict=True):
        for name, expected in compact.items():
            scale = float(expected.abs().max().clamp(min=1e-3)) if expected.numel() else 1.
            torch.testing.assert_close(padded[name], expected, rtol=0, atol=5e-3 * scale,
                                       msg=lambda m, n=name: f'{n}: {m}')


def test_missing_stage_of_train_cfg_is_named():
    cfg = config(**SMALL)
    del cfg.train_cfg['rpn_proposal']
    with pytest.raises(UserError, match='train_cfg lacks rpn_proposal'):
        MODELS.build(cfg)


@pytest.mark.gpu
def test_losses_on_the_device_equal_the_cpu(monkeypatch):
    # Rounding must not decide which boxes are proposed.
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    model = build(**ALL_SAMPLED, **ALL_PROPOSED).train()
    expected = losses(model, *small_scene())
    result = losses(model.cuda(), *small_scene())
    for name in expected:
        assert float(result[name]) == pytest.approx(float(expected[name]), rel=2e-3), name


@pytest.mark.gpu
def test_a_batch_without_objects_trains_on_the_device():
    model = build(**norms(dict(type='BN'))).cuda().train()
    images, targets = scene(0)
    result = losses(model, images, [{name: value[:0] for name, value in t.items()} for t in targets])
    total(result).backward()
    assert total(result).isfinite() and result['loss_mask'] == 0
