"""torchvision's detectors under its names: every value in its place, and its own detections on two pictures."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill_weights import entry
from mmengine.config import Config
from torchvision.models import detection, resnet18
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.resnet import resnet50
from torchvision.ops.misc import FrozenBatchNorm2d

from mmdet.checkpoints import load_weights, read_checkpoint
from mmdet.datasets.shapes_scene import draw_scene
from mmdet.ops import paste_masks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

CONFIGS = Path(__file__).parents[2] / 'configs/torchvision'
PICTURES = [cv2.resize(draw_scene(np.random.default_rng(seed))[0], (256, 192)) for seed in (1, 2)]  # BGR, no padding
UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's 1..90
PARENTS = dict(cls_score='fc_cls', cls_logits='rpn_cls', mask_fcn_logits='conv_logits')


def ours(masks, v2):
    """torchvision's model as a config of ours, 90 classes."""
    cfg = Config.fromfile(CONFIGS / f'{"mask" if masks else "faster"}_rcnn_r50_fpn{"_v2" if v2 else ""}.py').model
    cfg.backbone.init_cfg = None
    for head in ['bbox_head', 'mask_head'] if masks else ['bbox_head']:
        cfg.roi_head[head].num_classes = 90
    return cfg


def randomized(model):
    """`model` with weights drawn by name, BN statistics and biases included, that give detections."""
    state = {}
    for name, value in model.state_dict().items():
        *path, parent, leaf = name.split('.')
        parent = PARENTS.get(parent, {'rpn': 'rpn_reg'}.get(path[0], 'fc_reg') if parent == 'bbox_pred' else parent)
        state[name] = entry('.'.join([*path, parent, leaf]), tuple(value.shape))
    model.load_state_dict(state)
    return model.eval()


PROPOSALS, DETECTIONS = 150, 40  # heads of full width take long
BUILDERS = {
    'mask v1': (lambda: detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None), True, False),
    'faster v2': (lambda: detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None), False, True),
}


@pytest.fixture(scope='module', params=BUILDERS)
def pair(request, tmp_path_factory):
    """torchvision's model, ours with its weights, and what was read."""
    build, masks, v2 = BUILDERS[request.param]
    judge = randomized(build())
    judge.rpn._post_nms_top_n['testing'], judge.roi_heads.detections_per_img = PROPOSALS, DETECTIONS
    spread_classes(judge)
    path = tmp_path_factory.mktemp('torchvision') / 'model.pth'
    torch.save(judge.state_dict(), path)
    model = MODELS.build(ours(masks, v2)).eval()
    model.rpn_head.test_cfg['max_per_img'], model.roi_head.test_cfg['max_per_img'] = PROPOSALS, DETECTIONS
    checkpoint = read_checkpoint(path)
    assert not load_weights(model, checkpoint, strict=True)
    return judge, model, checkpoint


@torch.no_grad()
def spread_classes(judge):
    """Random features are much alike: let the class logits of a picture's regions vary around 0."""
    outputs = []
    head = judge.roi_heads.box_predictor.cls_score
    hook = head.register_forward_hook(lambda module, args, output: outputs.append(output))
    image = torch.from_numpy(PICTURES[0][..., ::-1].transpose(2, 0, 1).copy())
    judged(judge, torch.stack([(image - 120.) / 58]))
    hook.remove()
    scale = 2.5 / outputs[0].std(dim=0).mean()
    head.bias.sub_(outputs[0].mean(dim=0)).mul_(scale)
    head.weight.mul_(scale)


@torch.no_grad()
def judged(judge, inputs):
    """torchvision's detections on a prepared batch of one image."""
    size = tuple(inputs.shape[2:])
    features = judge.backbone(inputs)
    proposals, _ = judge.rpn(ImageList(inputs, [size]), features)
    return judge.roi_heads(features, proposals, [size])[0][0]


def test_detections_are_torchvisions(pair):
    judge, model, _ = pair
    picture = PICTURES[model.roi_head.mask_head is None]
    image = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    size = tuple(image.shape[1:])
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
    batch = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]))
    expected = judged(judge, batch['inputs'].contiguous())
    found = model(**batch, mode='predict')[0].pred_instances
    assert len(found) == len(expected['boxes']) > 20
    # Detections of nearly equal score may change places.
    order = torch.argsort(expected['scores'], descending=True, stable=True)
    rank = [min((i for i in range(len(found)) if abs(found.scores[i] - expected['scores'][j]) < 1e-4
                 and found.labels[i] == expected['labels'][j] - 1),
                key=lambda i: (found.bboxes[i] - expected['boxes'][j]).abs().max()) for j in order]
    assert sorted(rank) == list(range(len(found)))
    torch.testing.assert_close(found.scores[rank], expected['scores'][order], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.bboxes[rank], expected['boxes'][order], rtol=0, atol=0.05)
    assert len(set(found.labels.tolist())) > 3 and found.scores.std() > 0.01
    if 'masks' in expected:
        with torch.no_grad():
            rois = torch.nn.functional.pad(expected['boxes'], (1, 0))
            regions = model.roi_head.mask_roi_extractor(model.extract_feat(batch['inputs']), rois)
            logits = model.roi_head.mask_head(regions)
            probs = model.roi_head.mask_head.of_class(logits, expected['labels'] - 1).sigmoid()
        torch.testing.assert_close(probs, expected['masks'][:, 0], rtol=0, atol=1e-4)
        # Masks of random weights are noise, that is, edges everywhere: the next test compares the pasting itself.
        masks = paste_masks_in_image(expected['masks'], expected['boxes'], size)[order, 0] > 0.5
        assert masks.any() and (found.masks[rank].to_tensor() != masks).float().mean() < 0.02


def test_pasted_masks_are_torchvisions_but_for_edges():
    """torchvision pastes a mask into whole pixels; ours lies where the box does."""
    random = np.random.default_rng(0)
    centre, side = random.uniform((0, 0), (256, 192), (60, 2)), random.uniform(12, 120, (60, 2))
    boxes = np.concatenate([(centre - side / 2).clip(0), (centre + side / 2).clip(max=(256, 192))], 1)
    boxes = torch.from_numpy(boxes[(boxes[:, 2:] - boxes[:, :2] > 8).all(1)]).float()
    blobs = np.stack([cv2.GaussianBlur(random.standard_normal((28, 28)), (0, 0), 9) for _ in boxes])
    probs = torch.from_numpy(blobs / blobs.std(axis=(1, 2), keepdims=True)).float().sigmoid()
    expected = paste_masks_in_image(probs[:, None], boxes, (192, 256))[:, 0] > 0.5
    wrong = paste_masks(probs, boxes, 192, 256, 0.5) != expected
    assert expected.any() and not (wrong & ~edges(expected)).any() and wrong.float().mean() < 0.002


def edges(masks):
    """Pixels beside a change of the mask, and those beside them."""
    kernel = np.ones((5, 5), np.uint8)
    masks = masks.numpy().astype(np.uint8)
    result = [cv2.dilate(mask, kernel) != cv2.erode(mask, kernel, borderValue=0) for mask in masks]
    return torch.from_numpy(np.stack(result))


def test_rows_of_classes(pair):
    """Label k of torchvision is class k - 1 here, background is the last, for 90 classes and for COCO's 80."""
    judge, _, checkpoint = pair
    theirs, conversion = judge.state_dict(), checkpoint['conversion']
    used = [label for label in range(1, 91) if label not in UNUSED_IDS]
    assert len(used) == 80
    for labels, weights in ((range(1, 91), conversion.weights), (used, conversion.for_classes(80))):
        for leaf in ('weight', 'bias'):
            cls, reg = (theirs[f'roi_heads.box_predictor.{name}.{leaf}'] for name in ('cls_score', 'bbox_pred'))
            assert len(weights[f'roi_head.bbox_head.fc_cls.{leaf}']) == len(labels) + 1
            assert torch.equal(weights[f'roi_head.bbox_head.fc_cls.{leaf}'][-1], cls[0])
            for i, label in enumerate(labels):
                assert torch.equal(weights[f'roi_head.bbox_head.fc_cls.{leaf}'][i], cls[label])
                assert torch.equal(weights[f'roi_head.bbox_head.fc_reg.{leaf}'][4 * i:4 * i + 4],
                                   reg[4 * label:4 * label + 4])
                if 'roi_head.mask_head.conv_logits.bias' in weights:
                    assert torch.equal(weights[f'roi_head.mask_head.conv_logits.{leaf}'][i],
                                       theirs[f'roi_heads.mask_predictor.mask_fcn_logits.{leaf}'][label])
        assert len(weights[f'roi_head.bbox_head.fc_reg.{leaf}']) == 4 * len(labels)


def test_80_classes_and_conventions(pair):
    _, model, checkpoint = pair
    v2 = isinstance(model.rpn_head.rpn_conv, torch.nn.Sequential)
    kind = 'faster' if v2 else 'mask'
    conventions = checkpoint['conversion'].conventions
    assert conventions.config == f'configs/torchvision/{kind}_rcnn_r50_fpn{"_v2" if v2 else ""}.py'
    assert not conventions.conflicts(model)
    assert 'without the ids 12, 26, 29, 30, 45, 66, 68, 69, 71, 83' in str(checkpoint['conversion'])
    cfg = ours(not v2, v2)
    cfg.roi_head.bbox_head.num_classes = 80
    cfg.roi_head.bbox_roi_extractor.roi_layer.aligned = True
    cfg.backbone.style = 'caffe'
    cfg.data_preprocessor.update(bgr_to_rgb=False, mean=[103.53, 116.28, 123.675])
    if not v2:
        cfg.roi_head.mask_head.num_classes = 80
    with pytest.warns(UserWarning) as warned:
        assert not load_weights(MODELS.build(cfg), checkpoint, strict=True, source='model.pth')
    said = '\n'.join(str(each.message) for each in warned)
    assert 'channel order: the weights need RGB, the model has BGR' in said
    assert 'mean: the weights need (123.675, 116.28, 103.53), the model has (103.53, 116.28, 123.675)' in said
    assert 'style: the weights need pytorch, the model has caffe' in said
    assert 'bbox_roi_extractor.roi_layer.aligned: the weights need False, the model has True' in said


def frozen(names, older):
    """State dict of the published maskrcnn_resnet50_fpn (v1): frozen BN; older: names before torchvision 0.13."""
    state = {name: value for name, value in names.items() if 'num_batches_tracked' not in name}
    if older:
        state = {name.replace('rpn.head.conv.0.0.', 'rpn.head.conv.'): value for name, value in state.items()}
        for i in range(4):
            for kind in ('inner_blocks', 'layer_blocks'):
                state = {name.replace(f'{kind}.{i}.0.', f'{kind}.{i}.'): value for name, value in state.items()}
            state = {name.replace(f'roi_heads.mask_head.{i}.0.', f'roi_heads.mask_head.mask_fcn{i + 1}.'): value
                     for name, value in state.items()}
    return state


def test_older_names_give_the_same(tmp_path):
    with torch.device('meta'):
        names = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    values = {name: torch.full(value.shape[:1], float(i)) if value.dim() else value for i, (name, value) in
              enumerate(names.items())}
    values |= {name: torch.randn(names[name].shape) for name in names if '.body.' in name and 'tracked' not in name}
    weights = []
    for older in (False, True):
        state = frozen(values, older)
        assert older == ('rpn.head.conv.weight' in state) == ('roi_heads.mask_head.mask_fcn4.bias' in state)
        torch.save(state, tmp_path / 'model.pth')
        weights.append(read_checkpoint(tmp_path / 'model.pth')['conversion'].weights)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0, equal_nan=True)


@torch.no_grad()
def test_frozen_batch_norm_without_eps(tmp_path):
    """The published v1 detectors run their frozen batch norms with eps 0, also where a variance is next to nothing."""
    body = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=FrozenBatchNorm2d), 0)
    state = randomized(torch.nn.ModuleDict(dict(backbone=body))).state_dict()
    for module in body.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.
    tiny = state['backbone.body.layer1.0.bn2.running_var']
    tiny[:8], state['backbone.body.layer1.0.bn2.weight'][:8] = 1e-7, 1e-4
    torch.save(state, tmp_path / 'model.pth')
    model = MODELS.build(ours(False, False)).eval()
    load_weights(model, read_checkpoint(tmp_path / 'model.pth'))
    images = torch.rand(1, 3, 64, 64)
    for found, expected in zip(model.extract_feat(images), body(images).values()):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_classification_weights(tmp_path):
    judge = resnet18(weights=None)
    torch.save(judge.state_dict(), tmp_path / 'resnet18.pth')
    checkpoint = read_checkpoint(tmp_path / 'resnet18.pth')
    conversion = checkpoint['conversion']
    backbone = MODELS.build(dict(type='ResNet', depth=18))
    assert not load_weights(backbone, checkpoint, strict=True)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, judge.state_dict()[name]), name
    assert conversion.part == 'backbone' and list(conversion.dropped) == ['fc.weight', 'fc.bias']
    assert conversion.conventions.order == 'RGB' and conversion.conventions.style == 'pytorch'


@pytest.mark.parametrize(('name', 'part'), [
    ('roi_heads.keypoint_head.0.weight', 'keypoint head'),
    ('backbone.fpn.extra_blocks.p6.weight', 'RetinaNet'),
    ('backbone.body.0.0.weight', 'MobileNet'),
])
def test_other_models_are_named(tmp_path, name, part):
    torch.save({'backbone.body.conv1.weight': torch.zeros(64, 3, 7, 7), name: torch.zeros(1)}, tmp_path / 'model.pth')
    with pytest.raises(ValueError, match=f'model.pth .torchvision. has a part that no model here.*{part}.*{name}'):
        read_checkpoint(tmp_path / 'model.pth')
