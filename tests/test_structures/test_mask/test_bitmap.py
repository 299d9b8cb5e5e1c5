import pickle

import cv2
import mmcv
import numpy as np
import pytest
import torch
from each import each

from mmdet.structures.mask import BitmapMasks, MaskWindows

HEIGHT, WIDTH = 37, 53


@pytest.fixture
def full():
    """Blobs of many sizes, one that touches every border and one empty mask."""
    rng = np.random.default_rng(0)
    masks = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    for mask in masks[:4]:
        cv2.ellipse(mask, (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))), (12, 7), 30., 0, 360, 1, -1)
    masks[4, ::36, ::13] = 1
    return masks


@pytest.fixture(params=['full', 'windows'])
def bitmap(full, request):
    """The same masks, held either way."""
    masks = BitmapMasks(full.copy(), HEIGHT, WIDTH)
    return masks if request.param == 'full' else BitmapMasks(masks.windows, HEIGHT, WIDTH)


def equal(bitmap, full):
    return len(bitmap) == len(full) and (bitmap.height, bitmap.width) == full.shape[1:] and np.array_equal(
        bitmap.to_ndarray(), full)


def test_windows_are_tight_and_paint_back(bitmap, full):
    pixels, boxes = bitmap.windows
    assert pixels.dtype == np.uint8 and boxes.dtype == np.int64
    start = 0
    for mask, (x1, y1, x2, y2) in zip(full, boxes, strict=True):
        ys, xs = np.nonzero(mask)
        assert [x1, y1, x2, y2] == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0])
        area = (x2 - x1) * (y2 - y1)
        assert np.array_equal(pixels[start:start + area], mask[y1:y2, x1:x2].ravel())
        start += area
    assert start == len(pixels)
    assert equal(bitmap, full)
    assert np.array_equal(bitmap.areas, full.sum((1, 2)))
    assert bitmap.get_bboxes().dtype == np.float32 and np.array_equal(bitmap.get_bboxes(), boxes)


@each('shape', [(37, 53), (80, 41), (19, 111), (5, 4), (250, 300)])
def test_resize_is_cv2_nearest(bitmap, full, shape):
    expected = np.stack([cv2.resize(m, shape[::-1], interpolation=cv2.INTER_NEAREST) for m in full])
    assert equal(bitmap.resize(shape), expected)


def test_resize_is_cv2_nearest_for_many_sizes():
    rng = np.random.default_rng(1)
    for h, w, new_h, new_w in rng.integers(1, 200, (200, 4)).tolist():
        mask = (rng.random((1, h, w)) > 0.5).astype(np.uint8)
        expected = cv2.resize(mask[0], (new_w, new_h), interpolation=cv2.INTER_NEAREST)
        assert equal(BitmapMasks(mask, h, w).resize((new_h, new_w)), expected[None])


@each('scale', [(60, 40), (1333, 800), 0.5, 2.5])
def test_rescale_keeps_the_aspect_ratio(bitmap, full, scale):
    expected = np.stack([mmcv.imrescale(m, scale, interpolation='nearest') for m in full])
    assert equal(bitmap.rescale(scale), expected)


def test_flip(bitmap, full):
    assert equal(bitmap.flip(), full[:, :, ::-1])
    assert equal(bitmap.flip('vertical'), full[:, ::-1])
    assert equal(bitmap.flip('diagonal'), full[:, ::-1, ::-1])
    with pytest.raises(ValueError, match='sideways'):
        bitmap.flip('sideways')


def test_pad_expand_translate(bitmap, full):
    assert equal(bitmap.pad((40, 64)), np.pad(full, ((0, 0), (0, 3), (0, 11))))
    assert equal(bitmap.expand(50, 70, 4, 6), np.pad(full, ((0, 0), (4, 9), (6, 11))))
    assert equal(bitmap.translate((37, 53), 5), np.pad(full, ((0, 0), (0, 0), (5, 0)))[:, :, :53])
    assert equal(bitmap.translate((37, 53), -5, 'vertical'), np.pad(full, ((0, 0), (0, 5), (0, 0)))[:, 5:])


def test_crop(bitmap, full):
    assert equal(bitmap.crop(np.array([10, 5, 33, 30])), full[:, 5:30, 10:33])
    assert equal(bitmap.crop(np.array([40, 20, 99, 99])), full[:, 20:, 40:])
    assert equal(bitmap[:0].crop(np.array([10, 5, 33, 30])), np.zeros((0, 25, 23)))


def test_indexing(bitmap, full):
    filled = full.any((1, 2))
    for index, rows in ((2, [2]), (-1, [5]), (slice(1, 4), [1, 2, 3]), ([3, 0], [3, 0]), (np.array([4, 4]), [4, 4]),
                        (filled, np.flatnonzero(filled)), (torch.tensor([1, 5]), [1, 5]), ([], slice(0, 0))):
        assert equal(bitmap[index], full[rows])
    assert [m.sum() for m in bitmap] == full.sum((1, 2)).tolist()


def test_cat(bitmap, full):
    assert equal(BitmapMasks.cat([bitmap, bitmap[:0], bitmap[1:3]]), np.concatenate([full, full[1:3]]))


def test_pickle_is_small_and_exact(bitmap, full):
    data = pickle.dumps(bitmap)
    assert equal(pickle.loads(data), full)
    assert np.array_equal(pickle.loads(data).windows.pixels, bitmap.windows.pixels)
    assert len(data) < 600 + bitmap.windows.boxes.nbytes + len(bitmap.windows.pixels) / 8


def test_masks_change_by_assignment_alone(bitmap, full):
    assert bitmap.windows.boxes[5].tolist() == [0, 0, 0, 0]
    changed = bitmap.masks.copy()
    changed[5, 3:5, 7:9] = 1
    with pytest.raises(ValueError, match='read-only'):
        bitmap.masks[5, 3:5, 7:9] = 1
    bitmap.masks = changed
    assert bitmap.windows.boxes[5].tolist() == [7, 3, 9, 5]
    assert bitmap.to_tensor(torch.float32, 'cpu')[5].sum() == 4


def test_crop_and_resize_of_a_filled_box():
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 8:24, 4:20] = 1
    bitmap = BitmapMasks(mask, 32, 32)
    boxes = np.array([[4, 8, 20, 24], [12, 8, 28, 24], [0, 0, 32, 32]], np.float32)
    target = bitmap.crop_and_resize(boxes, (4, 8), np.zeros(3, np.int64))
    half = np.repeat([[1] * 4 + [0] * 4], 4, axis=0)
    assert np.array_equal(target.masks[0], np.ones((4, 8)))
    assert np.array_equal(target.masks[1], half)
    assert target.masks[2].sum() == 2 * 4
    with pytest.raises(ValueError, match='binarize'):
        bitmap.crop_and_resize(boxes, (4, 8), np.zeros(3, np.int64), binarize=False)


def test_no_masks():
    empty = BitmapMasks([], 8, 9)
    for masks in (empty, empty.resize((4, 5)).pad((8, 9)).flip()):
        assert equal(masks, np.zeros((0, 8, 9)))
        assert isinstance(masks.windows, MaskWindows) and masks.windows.boxes.shape == (0, 4)
        assert masks.get_bboxes().shape == (0, 4)


def test_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r'\(5, 6\).*height 6, width 5'):
        BitmapMasks(np.zeros((2, 5, 6)), 6, 5)
