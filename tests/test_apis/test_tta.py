"""Test-time augmentation: mmdetection's rule for boxes, worked out view by view; masks that mirror with the picture."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from mmengine.config import Config
from small_detector import write_detector

from mmdet.apis import DetInferencer, inference_detector, init_detector

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo_256.py'
SCALES = [(96, 96), (160, 160)]
FLIPS = {None: None, 'horizontal': 1, 'vertical': 0, 'diagonal': -1}  # cv2's codes


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tta')
    write_detector(folder, DEMO)
    return folder


@pytest.fixture(scope='module')
def image():
    return cv2.resize(np.random.default_rng(3).integers(0, 255, (8, 6, 3), np.uint8), (96, 128))


def inferencer(folder):
    cfg = Config.fromfile(folder / 'net.py')
    flips = [dict(type='RandomFlip', prob=0.)] + [dict(type='RandomFlip', prob=1., direction=name)
                                                  for name in FLIPS if name]
    cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10))
    cfg.tta_pipeline = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=scale, keep_ratio=True) for scale in SCALES], flips,
        [dict(type='LoadAnnotations', with_bbox=True)],
        [dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
                                               'flip_direction'))]])]
    return DetInferencer(cfg, folder / 'net.pth', device='cpu', show_progress=False, tta=True)


def test_boxes(folder, image):
    """Each view by a detector of its own scale and a picture mirrored by cv2; then torchvision's NMS."""
    found = []
    for scale in SCALES:
        model = init_detector(folder / 'net.py', folder / 'net.pth', device='cpu', cfg_options={
            'test_dataloader.dataset.pipeline.1.scale': scale})
        for code in FLIPS.values():
            view = image if code is None else cv2.flip(image, code)
            instances = inference_detector(model, view).pred_instances
            boxes = instances.bboxes.clone()
            if code in (1, -1):
                boxes[:, [0, 2]] = 96 - boxes[:, [2, 0]]
            if code in (0, -1):
                boxes[:, [1, 3]] = 128 - boxes[:, [3, 1]]
            found.append((boxes, instances.scores, instances.labels))
    boxes, scores, labels = map(torch.cat, zip(*found, strict=True))
    keep = torchvision.ops.batched_nms(boxes, scores, labels, 0.5)[:10]
    result, = inferencer(folder)(image)['predictions']
    assert len(boxes) == 32 > len(keep) > 1
    np.testing.assert_allclose(result['bboxes'], boxes[keep], atol=2e-3)
    np.testing.assert_allclose(result['scores'], scores[keep], atol=1e-5)
    assert result['labels'] == labels[keep].tolist()


def test_masks_mirror_with_the_picture(folder, image):
    """The views of a mirrored picture are those of the picture: so are the masks, mirrored."""
    tta = inferencer(folder)
    plain, mirrored = (tta(view, return_datasamples=True)['predictions'][0].pred_instances
                       for view in (image, cv2.flip(image, -1)))
    assert plain.masks.any() and not plain.masks.all()
    order = torch.cdist(plain.scores[:, None], mirrored.scores[:, None]).argmin(1)
    differ = (plain.masks != mirrored.masks[order].flip(1, 2)).float().mean()
    assert sorted(order.tolist()) == list(range(len(plain))) and differ < 1e-3


def test_one_view_is_the_detector(folder, image):
    cfg = Config.fromfile(folder / 'net.py')
    steps = cfg.test_dataloader.dataset.pipeline
    cfg.tta_pipeline = [steps[0], dict(type='TestTimeAug', transforms=[[steps[1]], [steps[-1]]])]
    tta = DetInferencer(cfg, folder / 'net.pth', device='cpu', show_progress=False, tta=True)
    expected = inference_detector(init_detector(folder / 'net.py', folder / 'net.pth', device='cpu'), image)
    for found in tta([image, image], batch_size=2, return_datasamples=True)['predictions']:
        np.testing.assert_allclose(found.pred_instances.scores, expected.pred_instances.scores, rtol=1e-5)
        assert (found.pred_instances.masks != expected.pred_instances.masks).float().mean() < 1e-3


def test_only_nms(folder):
    cfg = Config.fromfile(folder / 'net.py')
    cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='soft_nms', iou_threshold=0.5), max_per_img=9))
    with pytest.raises(ValueError, match="'soft_nms': only 'nms'"):
        DetInferencer(cfg, device='cpu', tta=True)
