import pickle

import cv2
import numpy as np
import pytest
import torch
from each import each
from pycocotools import mask as mask_api

from mmdet.structures.mask import PolygonMasks

HEIGHT, WIDTH = 60, 90
SQUARE = np.array([10., 20., 30., 20., 30., 40., 10., 40.])
STAR = np.array([60., 5., 66., 22., 85., 22., 70., 33., 76., 52., 60., 40., 44., 52., 50., 33., 35., 22., 54., 22.])
TRIANGLE = np.array([2.3, 3.1, 20.7, 5.2, 8.9, 17.6])


@pytest.fixture
def polygons():
    return PolygonMasks([[SQUARE.copy()], [STAR.copy()], [TRIANGLE.copy(), SQUARE + 15]], HEIGHT, WIDTH)


def drawn(masks):
    """Full-image rasterization of each object by pycocotools."""
    rles = [mask_api.merge(mask_api.frPyObjects([p.tolist() for p in m], masks.height, masks.width)) for m in masks]
    return np.stack([mask_api.decode(rle) for rle in rles])


def close(a, b):
    """Equal but for boundary pixels."""
    return a.shape == b.shape and (a != b).sum() <= 0.02 * b.sum()


def test_windows_are_the_full_rasterization(polygons):
    assert np.array_equal(polygons.to_ndarray(), drawn(polygons))
    assert np.array_equal(polygons.to_bitmap().masks, drawn(polygons))
    assert polygons.to_tensor(torch.bool, 'cpu').sum() == drawn(polygons).sum()


def test_windows_of_random_polygons_are_the_full_rasterization():
    rng = np.random.default_rng(0)
    masks = PolygonMasks([[(rng.random((12, 2)) * (WIDTH, HEIGHT) + rng.integers(-5, 5)).ravel()] for _ in range(50)],
                         HEIGHT, WIDTH)
    assert np.array_equal(masks.to_ndarray(), drawn(masks))


def test_areas_and_boxes(polygons):
    assert polygons.areas[0] == 400
    star = cv2.contourArea(STAR.reshape(-1, 2).astype(np.float32))
    assert polygons.areas == pytest.approx([400, star, 400 + abs((18.4 * 14.5 - 6.6 * 2.1) / 2)])
    assert polygons.get_bboxes().tolist()[:2] == [[10, 20, 30, 40], [35, 5, 85, 52]]
    assert polygons.get_bboxes().dtype == np.float32 and polygons[:0].get_bboxes().shape == (0, 4)


def test_resize_scales_points(polygons):
    resized = polygons.resize((120, 270))
    assert (resized.height, resized.width) == (120, 270)
    assert np.allclose(resized.masks[0][0].reshape(-1, 2), SQUARE.reshape(-1, 2) * (3, 2))
    rescaled = polygons.rescale((180, 120))
    assert (rescaled.height, rescaled.width) == (120, 180)
    assert np.allclose(rescaled.masks[1][0], STAR * 2)
    assert np.array_equal(polygons.masks[0][0], SQUARE)


def test_flip_mirrors_the_pixels(polygons):
    full = drawn(polygons)
    assert close(polygons.flip().to_ndarray(), full[:, :, ::-1])
    assert close(polygons.flip('vertical').to_ndarray(), full[:, ::-1])
    assert close(polygons.flip('diagonal').to_ndarray(), full[:, ::-1, ::-1])
    assert polygons.flip().masks[0][0].tolist() == [80, 20, 60, 20, 60, 40, 80, 40]


@pytest.mark.parametrize('box', [(15, 25, 70, 50), (0, 0, 90, 60), (40, 10, 66, 60), (31, 0, 34, 60)])
def test_crop_cuts_the_pixels(polygons, box):
    x1, y1, x2, y2 = box
    cropped = polygons.crop(np.array(box))
    assert (cropped.height, cropped.width) == (y2 - y1, x2 - x1)
    assert close(cropped.to_ndarray(), drawn(polygons)[:, y1:y2, x1:x2])
    boxes = cropped.get_bboxes()
    assert (boxes >= 0).all() and (boxes[:, 2] <= x2 - x1).all() and (boxes[:, 3] <= y2 - y1).all()


def test_crop_of_a_square_by_hand(polygons):
    assert polygons[0].crop(np.array([15, 25, 50, 60])).areas[0] == 15 * 15
    outside = polygons[0].crop(np.array([50, 0, 60, 60]))
    assert len(outside) == 1 and outside.areas[0] == 0 and outside.windows.boxes.tolist() == [[0, 0, 0, 0]]


def test_pad_expand_translate(polygons):
    full = drawn(polygons)
    assert close(polygons.pad((64, 96)).to_ndarray(), np.pad(full, ((0, 0), (0, 4), (0, 6))))
    assert close(polygons.expand(80, 100, 7, 3).to_ndarray(), np.pad(full, ((0, 0), (7, 13), (3, 7))))
    moved = polygons.translate((60, 90), 25)
    assert close(moved.to_ndarray(), np.pad(full, ((0, 0), (0, 0), (25, 0)))[:, :, :90])


def test_index_cat_pickle(polygons):
    full = drawn(polygons)
    for index in (1, slice(0, 2), [2, 0], np.array([False, True, True]), torch.tensor([1])):
        rows = np.atleast_1d(np.arange(3)[np.asarray(index) if not isinstance(index, slice) else index])
        assert np.array_equal(polygons[index].to_ndarray(), full[rows])
    assert np.array_equal(PolygonMasks.cat([polygons, polygons[1]]).to_ndarray(), full[[0, 1, 2, 1]])
    assert np.array_equal(pickle.loads(pickle.dumps(polygons)).to_ndarray(), full)


def test_pickling_rasterizes_nothing(polygons, monkeypatch):
    monkeypatch.setattr(mask_api, 'frPyObjects', None)
    assert len(pickle.dumps(polygons)) < 1500
    with pytest.raises(TypeError):
        polygons.windows  # noqa: B018


def test_crop_and_resize(polygons):
    target = polygons.crop_and_resize(np.array([[10., 20., 50., 60.]]), (28, 28), np.array([0]))
    expected = np.zeros((28, 28), np.uint8)
    expected[:14, :14] = 1
    assert np.array_equal(target.to_ndarray()[0], expected)


def test_no_masks():
    empty = PolygonMasks([], 8, 9)
    assert empty.resize((4, 5)).flip().to_ndarray().shape == (0, 4, 5)
    assert empty.areas.shape == (0,) and empty.windows.boxes.shape == (0, 4)
    assert empty.crop(np.array([1, 1, 4, 5])).to_ndarray().shape == (0, 4, 3)


@each('far', [1e3, 1e5, 1e8, 1e9, 1e18, 1e300])
def test_points_far_outside(far):
    """A wedge from the left border that widens to `far` pixels at the right: in the image it is a half plane."""
    wedge = [np.array([-far, 10., far, 10., far, 10 + far, -far, 10.])]
    outside = [np.array([far, far, 2 * far, far, far, 2 * far])]
    masks = PolygonMasks([wedge, outside, [*outside, *wedge]], 30, 40).to_ndarray()
    assert masks[0, :10].sum() == 0 and masks[0, 10:].mean() > 0.9 and masks[1].sum() == 0
    assert np.array_equal(masks[0], masks[2])
