import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdet.apis.image_input import as_image, is_one_image
from mmdet.apis.sources import find_pictures

IMAGE = np.random.default_rng(0).integers(2, 255, (6, 9, 3), np.uint8)
GRAY = IMAGE[..., 0]
WIDE = IMAGE.astype(np.uint16) * 256 + 77
PNG = cv2.imencode('.png', IMAGE)[1].tobytes()


GIVEN = [
    (IMAGE, IMAGE), (np.dstack([IMAGE, GRAY]), IMAGE), (IMAGE.astype(np.int64), IMAGE), (WIDE, IMAGE),
    (IMAGE.astype(np.uint16), IMAGE), (IMAGE[:, ::-1], IMAGE[:, ::-1]), (PNG, IMAGE), (bytearray(PNG), IMAGE),
    (memoryview(PNG), IMAGE), (io.BytesIO(PNG), IMAGE), (Image.fromarray(IMAGE[..., ::-1]), IMAGE),
    (Image.fromarray(IMAGE[..., ::-1]).convert('RGBA'), IMAGE), (np.zeros((4, 5)), np.zeros((4, 5, 3))),
    *((gray, np.dstack([GRAY] * 3)) for gray in (
        GRAY, GRAY[..., None], WIDE[..., 0], Image.fromarray(GRAY), Image.fromarray(WIDE[..., 0])))]


def test_images(subtests):
    for given, expected in GIVEN:
        with subtests.test(str(given)):
            assert is_one_image(given)
            image = as_image(given)
            assert np.array_equal(image, expected) and image.dtype == (np.float32 if image.max() == 0 else np.uint8)


def test_floats_and_orientation():
    image = as_image(IMAGE.astype(np.float64) / 2)
    assert image.dtype == np.float32 and np.array_equal(image, IMAGE.astype(np.float32) / 2)
    exif = Image.Exif()
    exif[0x112] = 6
    file = io.BytesIO()
    Image.fromarray(IMAGE[..., ::-1]).save(file, 'PNG', exif=exif)
    expected = as_image(file.getvalue())  # turned by cv2
    assert np.array_equal(as_image(Image.open(file)), expected) and expected.shape == (9, 6, 3)


NOT_TAKEN = [
    (torch.zeros(3, 4, 5), r'torch\.Tensor.*permute\(1, 2, 0\)'),
    (np.zeros((3, 40, 50), np.uint8), r'transpose\(1, 2, 0\)'),
    (np.zeros((2, 4, 5, 3), np.uint8), 'as a list'), (IMAGE / 255, 'multiply it by 255'), (IMAGE * -1., r'0\.\.255'),
    (IMAGE * 100., r'0\.\.255'), (np.full((4, 5), np.nan), 'NaN'), (IMAGE.astype(np.int32) * 1000, 'int32 from'),
    (IMAGE > 9, 'array of bool'), (np.zeros((0, 5, 3), np.uint8), 'shape'), (np.zeros(5, np.uint8), 'shape'),
    (None, 'NoneType'), (5, 'int'), (dict(img=IMAGE), 'dict'), (b'no image', 'is no image'), (PNG[:-20], 'cut short')]


def test_what_is_not_taken_is_told_what_is(subtests):
    for given, message in NOT_TAKEN:
        with subtests.test(str(given)):
            assert is_one_image(given)
            with pytest.raises(ValueError, match=message) as error:
                as_image(given)
            assert 'An image is a path' in str(error.value) or isinstance(given, bytes)


def test_several(tmp_path):
    assert not is_one_image([IMAGE]) and not is_one_image(image for image in [IMAGE])
    for name in ('b.png', 'a.JPG', '._a.JPG', 'Thumbs.db'):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / 'c.png').mkdir()
    assert find_pictures(tmp_path) == find_pictures(str(tmp_path)) == [f'{tmp_path}/a.JPG', f'{tmp_path}/b.png']
    assert find_pictures(Path('x.png')) == ['x.png'] and as_image(Path('x.png')) == 'x.png'
