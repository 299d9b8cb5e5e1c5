"""The loader hands over one block of pixels; the preprocessor makes of it what it makes of single images."""
import pytest
import torch
from torch.utils.data import DataLoader

from mmdet.datasets import stacked_collate
from mmdet.errors import UserError
from mmdet.models.data_preprocessor import DetDataPreprocessor
from mmdet.structures import DetDataSample

SIZES = [(20, 33), (31, 16), (1, 40)]


def samples(dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (*size, 3), generator=generator).to(dtype).permute(2, 0, 1) for size in SIZES]
    return [dict(inputs=image, data_samples=DetDataSample(metainfo=dict(img_shape=size)))
            for image, size in zip(images, SIZES)]


@pytest.mark.parametrize('workers', [0, 2])
def test_stacked_is_as_single(workers):
    preprocessor = DetDataPreprocessor(mean=[1., 2., 3.], std=[2., 3., 4.], pad_size_divisor=32, pad_value=7,
                                       bgr_to_rgb=True)
    stacked, = DataLoader(samples(), batch_size=3, num_workers=workers, collate_fn=stacked_collate)
    assert stacked['inputs'].shape == (3, 3, 31, 40)
    assert stacked['inputs'].is_contiguous(memory_format=torch.channels_last)
    single = dict(inputs=[sample['inputs'] for sample in samples()],
                  data_samples=[sample['data_samples'] for sample in samples()])
    batches = preprocessor(stacked), preprocessor(single)
    expected = torch.full((3, 3, 32, 64), 7.)
    for out, sample, (height, width) in zip(expected, samples(), SIZES):
        pixels = sample['inputs'].flip(0).float()
        out[:, :height, :width] = (pixels - torch.tensor([1., 2., 3.]).view(3, 1, 1)) / torch.tensor(
            [2., 3., 4.]).view(3, 1, 1)
    for batch in batches:
        assert batch['inputs'].is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(batch['inputs'], expected)
        assert [sample.pad_shape for sample in batch['data_samples']] == [(32, 64), (32, 32), (32, 64)]


def test_images_that_do_not_fill_their_img_shape_stay_single():
    odd = samples()
    odd[1]['data_samples'].set_metainfo(dict(img_shape=(5, 5)))
    assert isinstance(stacked_collate(odd)['inputs'], list)
    mixed = samples()[:1] + samples(torch.float32)[1:]
    assert isinstance(stacked_collate(mixed)['inputs'], list)


def test_a_pipeline_that_packs_nothing_is_told_so():
    with pytest.raises(UserError, match='img, gt_bboxes.*PackDetInputs'):
        stacked_collate([dict(img=1, gt_bboxes=2)])
