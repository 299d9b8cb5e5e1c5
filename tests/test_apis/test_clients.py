"""Programs of others that use mmdetection find what they call."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_detector import CLASSES, write_detector

from mmdet.apis import inference_detector, init_detector
from mmdet.evaluation.coco_metric import encode_masks

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo_256.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clients')
    write_detector(folder, DEMO)
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8), (120, 90))
    cv2.imwrite(str(folder / 'image.png'), image)
    return folder


@pytest.fixture(scope='module')
def expected(folder):
    return inference_detector(init_detector(folder / 'net.py', folder / 'net.pth', device='cpu'), folder / 'image.png')


def test_supervision(expected):
    supervision = pytest.importorskip('supervision', reason='need supervision')
    found = supervision.Detections.from_mmdetection(expected)
    instances = expected.pred_instances
    np.testing.assert_array_equal(found.xyxy, instances.bboxes)
    np.testing.assert_array_equal(found.mask, instances.masks)
    assert found.class_id.tolist() == instances.labels.tolist() and len(found) == 4


def test_sahi(folder, expected):
    """The whole picture: the same detections; in slices: those of each, moved to its place."""
    sahi = pytest.importorskip('sahi', reason='need sahi')
    from sahi.predict import get_prediction, get_sliced_prediction
    model = sahi.AutoDetectionModel.from_pretrained(
        'mmdet', model_path=str(folder / 'net.pth'), config_path=str(folder / 'net.py'), device='cpu',
        confidence_threshold=0.)
    whole = get_prediction(str(folder / 'image.png'), model).object_prediction_list
    instances = expected.pred_instances
    assert len(whole) and model.has_mask
    for found in whole:
        row = (instances.scores - found.score.value).abs().argmin()
        assert found.category.name == CLASSES[instances.labels[row]]
        rle, = encode_masks(instances.masks[row][None])
        assert rle['size'] == list(found.mask.bool_mask.shape)
        ours, theirs = instances.masks[row].numpy(), found.mask.bool_mask
        assert (ours & theirs).sum() > 0.9 * (ours | theirs).sum()  # SAHI keeps polygons
    sliced = get_sliced_prediction(str(folder / 'image.png'), model, slice_height=64, slice_width=64,
                                   perform_standard_pred=False, verbose=0).object_prediction_list
    assert max(found.bbox.maxx for found in sliced) > 64


def test_label_studio(folder, expected):
    """Its backend goes through pred_instances one by one, and each is a row of one."""
    rows = list(expected.pred_instances)
    assert len(rows) == len(expected.pred_instances)
    for row in rows:
        x1, y1, x2, y2 = list(row['bboxes'][0])[:4]
        assert CLASSES[row['labels'][0]] in CLASSES and 0 <= float(row['scores'][-1]) <= 1 and x1 <= x2 and y1 <= y2


def test_pipelines_of_mmdetections_scripts(folder, expected):
    """video_demo.py builds its own pipeline of the model's config, which takes dicts."""
    from mmcv.transforms import Compose
    model = init_detector(folder / 'net.py', folder / 'net.pth', device='cpu')
    model.cfg.test_dataloader.dataset.pipeline[0].type = 'mmdet.LoadImageFromNDArray'
    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    found = inference_detector(model, cv2.imread(str(folder / 'image.png')), test_pipeline=pipeline)
    assert torch.equal(found.pred_instances.bboxes, expected.pred_instances.bboxes)
