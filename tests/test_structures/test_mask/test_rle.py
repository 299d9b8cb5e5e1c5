import numpy as np
import pytest
from pycocotools import mask as mask_api

from mmdet.structures.mask import checked_rles, rle


def runs_of(mask):
    """Runs of a mask by walking down its columns."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_valid_rles_of_every_form_come_back_compressed(monkeypatch):
    monkeypatch.setattr(rle, '_CHUNK', 1000)  # several
    rng = np.random.default_rng(0)
    masks = [(rng.random(rng.integers(1, 40, 2)) < rng.choice([0, 0.1, 0.5, 1])).astype(np.uint8) for _ in range(200)]
    masks.append(np.zeros((3000, 3000), np.uint8))
    masks[-1][7, 2000] = 1
    expected = [mask_api.encode(np.asfortranarray(mask)) for mask in masks]
    texts = [dict(e, counts=e['counts'].decode()) for e in expected]
    sizes = [mask.shape for mask in masks]
    assert checked_rles(texts, sizes, str) == checked_rles(expected, sizes, str) == texts
    lists = [dict(size=(float(h), w), counts=runs_of(mask)) for mask, (h, w) in zip(masks[:-1], sizes)]
    assert checked_rles(lists, sizes[:-1], str) == texts[:-1]
    assert checked_rles([], [], str) == []


@pytest.mark.parametrize('size', [[2., 5], [2, 5.], np.array([2, 5])], ids=str)
def test_sizes_are_whole_numbers(size):
    read, = checked_rles([dict(size=size, counts='55')], [(2, 5)], str)
    assert read == dict(size=[2, 5], counts='55') and list(map(type, read['size'])) == [int, int]


def test_empty_runs_are_merged():
    split = checked_rles([dict(size=[2, 5], counts=[0, 0, 3, 0, 2, 5, 0])], [(2, 5)], str)
    assert split == [dict(size=[2, 5], counts='55')]  # 5 and 5


NO_RLE = [
    (dict(counts=[0, 9]), r'cover 9 pixels, its size \[2, 5\] has 10'), (dict(counts='55' '1'), 'cover 11 pixels'),
    (dict(counts=''), 'cover 0 pixels'), (dict(counts=[]), 'cover 0 pixels'), (dict(counts=b'5P'), 'cut short'),
    (dict(counts='5 5'), "the character ' '"), (dict(counts='5\xe9'), 'the character'),
    (dict(counts='5\ud800'), 'the character'), (dict(counts='4O7'), 'run 1 is negative'),
    (dict(counts='PPPPPP0'), 'too large'), (dict(counts=[11, -1]), 'whole numbers'),
    (dict(counts=[9.5, 0.5]), 'whole numbers'), (dict(counts=[float('nan')]), 'whole numbers'),
    (dict(counts=[2 ** 80]), 'whole numbers'), (dict(counts=[2 ** 63, 2 ** 63 + 10]), 'cover 1844'),
    (dict(counts=['10']), 'whole numbers'),
    (dict(counts=[[1], [2, 3]]), 'whole numbers'), (dict(counts=None), 'None'),
    (dict(size=[5, 2], counts=[10]), r'size \[5, 2\].*has \[2, 5\].*the two are swapped'),
    (dict(size=[0, 0], counts=''), r'size \[0, 0\]'), (dict(size='25', counts=[10]), "size '25'"),
    (dict(size=[2, None], counts=[10]), r'size \[2, None\]'), ([[1, 1, 2, 2, 3, 3]], 'must be an RLE'),
    (dict(size=[2, 5]), 'must be an RLE'), (None, 'must be an RLE')]


def test_what_is_no_rle_is_named(subtests):
    for wrong, match in NO_RLE:
        with subtests.test(str(wrong)):
            if isinstance(wrong, dict) and 'counts' in wrong:
                wrong = dict(dict(size=[2, 5]), **wrong)
            good = dict(size=[2, 5], counts='55')
            with pytest.raises(ValueError, match=f'^entry 1 of a.json.*{match}'):
                checked_rles([good, wrong, good], [(2, 5)] * 3, lambda i: f'entry {i} of a.json')


def test_random_texts_are_refused_or_cover_the_image():
    rng = np.random.default_rng(1)
    read = 0
    for _ in range(500):
        text = rng.integers(46, 114, rng.integers(1, 5)).astype(np.uint8).tobytes()
        try:
            result, = checked_rles([dict(size=[3, 4], counts=text)], [(3, 4)], str)
        except ValueError:
            continue
        read += 1
        assert len(mask_api.decode(result)) == 3
    assert read
