"""JPEGs as phones write them, and such as lack their end."""
import io
import warnings

import cv2
import numpy as np
import pytest
from each import each
from PIL import Image

from mmdet.datasets.image_file import decode_image, orientation

KINDS = [dict(), dict(progressive=True), dict(subsampling=0, restart_marker_blocks=2),
         dict(progressive=True, restart_marker_rows=1), dict(quality=30)]


def jpeg(height=45, width=70, mode='RGB', exif=None, **options):
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8), (0, 0), 1.5)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, 'JPEG', exif=exif or Image.Exif(), **options)
    return file.getvalue()


def with_thumbnail(data):
    """The JPEG with a segment that holds a whole other one, and one that holds an end marker."""
    segments = b''.join(b'\xff' + marker + (len(body) + 2).to_bytes(2, 'big') + body
                        for marker, body in ((b'\xe1', b'Exif\0\0' + jpeg(20, 30)), (b'\xfe', b'a\xff\xd9b')))
    return data[:2] + segments + data[2:]


@pytest.mark.parametrize('options', KINDS)
def test_what_follows_the_end_does_no_harm(options):
    data = jpeg(**options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    second = jpeg(60, 50)
    for tail in (bytes(500), second, second[:-40], b'ftypmp42' + second[:99] + b'\xff\xda\0', b'\xff', data + b'\0'):
        for start in (data, with_thumbnail(data)):
            assert np.array_equal(decode_image(start + tail, 'a.jpg'), expected)


@each('options', KINDS)
@each('mode', ['RGB', 'L'])
def test_two_bytes_may_be_missing_but_no_more(options, mode):
    data = jpeg(mode=mode, **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    for missing in (1, 2):
        with pytest.warns(UserWarning, match=r'image a\.jpg lacks its end marker'):
            assert np.array_equal(decode_image(data[:-missing], 'a.jpg'), expected)
    rng = np.random.default_rng(1)
    for missing in [*range(8, 20), *rng.integers(20, len(data), 8)]:
        for start in (data[:-missing], with_thumbnail(data)[:-missing], data[:-missing] + bytes(200)):
            with pytest.raises(ValueError, match=r'image a\.jpg is cut short'):
                decode_image(start, 'a.jpg')


def test_whole_jpegs_bring_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for options in KINDS:
            decode_image(with_thumbnail(jpeg(**options)), 'a.jpg')


def test_damaged_bytes_never_end_in_another_error():
    rng = np.random.default_rng(0)
    whole = [jpeg(**options) for options in KINDS] + [cv2.imencode('.png', np.zeros((9, 9, 3), np.uint8))[1].tobytes()]
    for i in range(300):
        data = bytearray(whole[i % len(whole)])
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                decode_image(bytes(data[:rng.integers(len(data))] if i % 2 else data), 'a')
            except ValueError as error:
                assert str(error).startswith('image a ')


@pytest.mark.parametrize('turn', [1, 3, 6, 8])
def test_orientation(turn):
    exif = Image.Exif()
    exif[0x112] = turn
    data = jpeg(30, 50, exif=exif)
    assert orientation(data) == turn
    assert decode_image(data, 'a.jpg').shape[:2] == ((50, 30) if turn > 4 else (30, 50))
    assert orientation(b'no image') == 1
