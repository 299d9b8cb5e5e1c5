import numpy as np
import pytest
import torch

from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks

TRAIN = [dict(type='LoadImageFromFile', backend_args=None),
         dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
         dict(type='Resize', scale=(120, 80), keep_ratio=True), dict(type='RandomFlip', prob=1.),
         dict(type='PackDetInputs')]
TEST = [TRAIN[0], TRAIN[2], TRAIN[1],
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
LARGE_SCALE_JITTER = [
    *TRAIN[:2], dict(type='RandomResize', scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_type='absolute_range', crop_size=(64, 64), recompute_bbox=True,
         allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)), *TRAIN[3:]]


def test_training_pipeline(tiny):
    packed = CocoDataset(**tiny.config(pipeline=TRAIN))[0]
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.shape == (3, 80, 120) and inputs.dtype == torch.uint8
    assert inputs.permute(1, 2, 0).is_contiguous()
    assert isinstance(sample, DetDataSample)
    assert sample.metainfo == dict(img_id=10, img_path=str(tiny.root / 'images/wide.png'), ori_shape=(40, 60),
                                   img_shape=(80, 120), scale_factor=(2, 2), flip=True, flip_direction='horizontal')
    assert sample.gt_instances.bboxes.tolist() == [[60, 10, 100, 40], [40, 40, 60, 60]]
    assert sample.gt_instances.bboxes.dtype == torch.float32 and sample.gt_instances.labels.tolist() == [1, 0]
    assert sample.ignored_instances.bboxes.tolist() == [[20, 60, 120, 80]]
    masks = sample.gt_instances.masks.to_ndarray()
    assert masks[0, 10:40, 60:100].all() and masks[0].sum() == 30 * 40
    assert sample.ignored_instances.masks.areas.tolist() == [20 * 100]


def test_test_pipeline_keeps_annotations_of_the_original_image(tiny):
    sample = CocoDataset(**tiny.config(pipeline=TEST, test_mode=True))[1]['data_samples']
    assert sample.gt_instances.bboxes.tolist() == [[4, 8, 16, 24]]
    assert sample.scale_factor == (2, 2) and sample.img_shape == (120, 80) and sample.ori_shape == (60, 40)
    assert set(sample.metainfo_keys()) == {'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'}


@pytest.mark.parametrize('poly2mask', [True, False])
def test_large_scale_jitter(tiny, poly2mask):
    pipeline = [dict(step, poly2mask=poly2mask) if step['type'] == 'LoadAnnotations' else step
                for step in LARGE_SCALE_JITTER]
    dataset = CocoDataset(**tiny.config(pipeline=pipeline, filter_cfg=dict(filter_empty_gt=True)))
    np.random.seed(0)
    for i in range(30):
        packed = dataset[i % len(dataset)]
        height, width = packed['inputs'].shape[1:]
        instances = packed['data_samples'].gt_instances
        assert height <= 64 and width <= 64 and packed['data_samples'].img_shape == (height, width)
        boxes = instances.bboxes
        assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and len(instances.masks) == len(boxes)
        assert isinstance(instances.masks, BitmapMasks)


def test_an_image_alone():
    packed = PackDetInputs()(dict(img=np.zeros((4, 6), np.uint8), img_id=3))
    assert packed['inputs'].shape == (1, 4, 6) and packed['data_samples'].img_id == 3
    assert len(packed['data_samples'].gt_instances) == 0


def test_a_mirrored_view_is_packed():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert PackDetInputs()(dict(img=image[:, ::-1]))['inputs'].tolist() == image[:, ::-1].transpose(2, 0, 1).tolist()


def test_all_are_registered():
    for name in ('LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomFlip', 'RandomCrop', 'PackDetInputs',
                 'RandomResize', 'RandomChoiceResize', 'FilterAnnotations', 'Pad', 'PhotoMetricDistortion',
                 'LoadImageFromNDArray'):
        assert TRANSFORMS.get(name).__module__.startswith('mmdet.')
