import colorsys
from importlib.util import find_spec

import numpy as np
import pytest

from mmdet.datasets.transforms import Corrupt, PhotoMetricDistortion

IMAGE = np.array([[[40, 90, 200], [120, 60, 30], [10, 220, 130]]], np.uint8)
NOTHING = dict(brightness_delta=0, contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0)


def distorted(number=40, **kwargs):
    np.random.seed(0)
    transform = PhotoMetricDistortion(**{**NOTHING, **kwargs})
    return [transform(dict(img=IMAGE))['img'] for _ in range(number)]


def test_channels_alone_are_swapped_where_nothing_else_may_change():
    images = distorted()
    orders = {tuple(np.round(image[0, 0]).astype(int).tolist()) for image in images}
    assert all(image.dtype == np.float32 for image in images)
    assert len(orders) > 3 and all(sorted(order) == [40, 90, 200] for order in orders)


@pytest.mark.parametrize('kwargs, expected', [
    (dict(brightness_delta=0, contrast_range=(0.5, 0.5)), IMAGE * 0.5),
    (dict(saturation_range=(0, 0)), np.repeat(IMAGE.max(-1, keepdims=True), 3, -1)),
])
def test_half_of_the_images_are_changed_as_told(kwargs, expected):
    changed = 0
    for image in distorted(200, **kwargs):
        values = np.sort(image, -1)
        if np.allclose(values, np.sort(expected, -1), atol=0.5):
            changed += 1
        else:
            assert np.allclose(values, np.sort(IMAGE, -1), atol=0.5)
    assert 70 < changed < 130


def test_brightness_is_added_within_its_range():
    shifts = [np.sort(image[0, 0])[0] - 40 for image in distorted(200, brightness_delta=20)]
    assert max(abs(s) for s in shifts) <= 20.01 and min(shifts) < -15 and max(shifts) > 15
    assert 70 < sum(abs(s) > 1e-3 for s in shifts) < 130


def test_hue_turns_and_nothing_else():
    for image in distorted(40, hue_delta=18):
        for before, after in zip(IMAGE[0], image[0], strict=True):
            h0, s0, v0 = colorsys.rgb_to_hsv(*np.sort(before) / 255)
            _, s1, v1 = colorsys.rgb_to_hsv(*np.sort(after) / 255)
            assert (s1, v1) == pytest.approx((s0, v0), abs=0.01)


@pytest.mark.skipif(find_spec('imagecorruptions') is None, reason='needs imagecorruptions')
def test_corruptions_run_with_the_packages_of_today():
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    for name in ('frost', 'fog', 'gaussian_blur', 'glass_blur', 'elastic_transform', 'spatter'):
        spoilt = Corrupt(name, severity=3).transform(dict(img=image.copy()))['img']
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8 and (spoilt != image).mean() > .1
