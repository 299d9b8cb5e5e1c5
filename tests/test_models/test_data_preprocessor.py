import pytest
import torch
from mask_rcnn import data
from scene import scene

from mmdet.models.data_preprocessor import DetDataPreprocessor

MEAN, STD = [10., 20., 30.], [1., 2., 4.]


def test_normalizes_pads_and_reverses():
    images = [torch.randint(0, 256, (3, 5, 9), dtype=torch.uint8), torch.randint(0, 256, (3, 8, 3), dtype=torch.uint8)]
    out = DetDataPreprocessor(MEAN, STD, pad_size_divisor=4, pad_value=-7, bgr_to_rgb=True)(dict(inputs=images))
    assert out['inputs'].shape == (2, 3, 8, 12) and out['inputs'].is_contiguous(memory_format=torch.channels_last)
    for padded, image in zip(out['inputs'], images):
        h, w = image.shape[1:]
        for c in range(3):
            expected = torch.full((8, 12), -7.)
            expected[:h, :w] = (image[2 - c].float() - MEAN[c]) / STD[c]
            torch.testing.assert_close(padded[c], expected)


def test_sizes_and_ground_truth():
    images, targets = scene(0)
    targets[1] = {name: value[:4] for name, value in targets[1].items()}
    batch = DetDataPreprocessor(pad_size_divisor=32)(data(images, targets), training=True)
    sample, gt = batch['data_samples'][1], batch['gt']
    assert sample.pad_shape == (224, 288) and sample.batch_input_shape == (256, 320)
    assert gt.image_sizes.tolist() == [[256, 320], [224, 288]]
    assert gt.valid.tolist() == [[True] * 6, [True] * 4 + [False] * 2]
    for i, target in enumerate(targets):
        torch.testing.assert_close(gt.boxes[i][gt.valid[i]], target['boxes'])
        assert torch.equal(gt.labels[i][gt.valid[i]], target['labels'])
        sizes = gt.masks.boxes[:, 2:] - gt.masks.boxes[:, :2]
        starts = sizes.prod(1).cumsum(0) - sizes.prod(1)
        for row, mask in zip(gt.mask_rows[i], target['masks']):
            x1, y1, x2, y2 = gt.masks.boxes[row].tolist()
            inside = gt.masks.pixels[starts[row]:starts[row] + (x2 - x1) * (y2 - y1)]
            assert inside.sum() == mask.sum() and torch.equal(inside, mask[y1:y2, x1:x2].flatten())


def test_no_objects_at_all():
    images, targets = scene(0)
    targets = [{name: value[:0] for name, value in target.items()} for target in targets]
    gt = DetDataPreprocessor()(data(images, targets), training=True)['gt']
    assert gt.boxes.shape == (2, 1, 4) and not gt.valid.any()


def test_fixed_size_is_for_training_alone():
    augment = dict(type='BatchFixedSizePad', size=(300, 400), img_pad_value=5, pad_mask=True)
    preprocessor = DetDataPreprocessor(batch_augments=[augment])
    images, targets = scene(0)
    batch = preprocessor(data(images, targets), training=True)
    assert batch['inputs'].shape == (2, 3, 300, 400) and (batch['inputs'][:, :, 256:] == 5).all()
    assert batch['data_samples'][0].pad_shape == (300, 400) and batch['gt'].padded_sizes.tolist() == [[300, 400]] * 2
    assert preprocessor(data(images, targets), training=False)['inputs'].shape == (2, 3, 256, 320)


def test_an_image_that_is_none_is_named():
    with pytest.raises(ValueError, match='number 0 of the batch'):
        DetDataPreprocessor()(dict(inputs=[torch.zeros(4, 4)]))
