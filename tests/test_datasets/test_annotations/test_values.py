"""Values of entries: what is understood, and what is refused with file, entry, value and cure."""
import copy
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_api

from mmdet.datasets import read_coco_json
from mmdet.datasets.annotations import read_annotations

DATA = Path(__file__).parents[2] / 'data'
IDS = [-4, 0, 1.5, '1', 'a b/ü', 10 ** 30, 2 ** 63, '10.0', -0.25, 7]


def test_ids_are_written_back_as_they_were(write, coco):
    coco['images'] = [dict(coco['images'][0], id=i) for i in IDS]
    coco['categories'] = [dict(id=i, name=f'n{k}') for k, i in enumerate(IDS)]
    coco['annotations'] = [dict(id=i, image_id=i, category_id=j, bbox=[1, 2, 3, 4])
                           for i, j in zip(IDS, IDS[::-1], strict=True)]
    data = read_coco_json(write(coco))
    for name, key in (('images', 'id'), ('categories', 'id'), ('annotations', 'image_id')):
        read = [entry[key] for entry in data[name]]
        assert read == IDS and list(map(type, read)) == list(map(type, IDS))
    assert [entry['category_id'] for entry in data['annotations']] == IDS[::-1]


def test_a_real_file_loses_nothing():
    read = read_coco_json(str(DATA / 'instances_val2014_100.json.gz'))
    written = json.loads(gzip.decompress((DATA / 'instances_val2014_100.json.gz').read_bytes()))
    assert len(read['annotations']) == len(written['annotations']) > 800
    for name, keys in (('images', ('id', 'file_name', 'height', 'width')), ('categories', ('id', 'name')),
                       ('annotations', ('image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation'))):
        for ours, theirs in zip(read[name], written[name], strict=True):
            for key in keys:
                if key == 'segmentation' and theirs['iscrowd']:
                    theirs[key] = mask_api.frPyObjects(theirs[key], *theirs[key]['size'])
                    theirs[key]['counts'] = theirs[key]['counts'].decode()
                assert ours[key] == theirs[key]


def test_an_id_as_number_and_as_text_is_one(write, coco):
    coco['annotations'][0].update(image_id='3', category_id='7')
    coco['annotations'].append(dict(id='x', image_id=3.0, category_id=7, bbox=[1, 2, 3, 4]))
    coco['annotations'].append(dict(image_id=3, category_id=7, bbox=[1, 2, 3, 4]))
    table = read_annotations(write(coco))
    assert table.image.tolist() == table.category.tolist() == [0, 0, 0]


@pytest.mark.parametrize('key, attribute', [('iscrowd', 'crowd'), ('ignore', 'ignored')])
def test_flags(write, coco, key, attribute):
    values = [0, 1, '0', '1', False, True, 0.0, 1.0, None, 'true', 'False']
    coco['annotations'] = [dict(image_id=3, category_id=7, bbox=[1, 2, 3, 4], **{key: value}) for value in values]
    coco['annotations'].append(dict(image_id=3, category_id=7, bbox=[1, 2, 3, 4]))
    flags = getattr(read_annotations(write(coco)), attribute)
    assert flags.astype(int).tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0]


def test_sizes_and_areas(write, coco):
    values = ['20', ' 20 ', 20.0, 20]
    coco['images'] = [dict(id=i, file_name='a.jpg', height=value, width=30) for i, value in enumerate(values)]
    coco['annotations'] = [dict(image_id=0, category_id=7, bbox=[1, 2, 3.5, 4], area=area)
                           for area in (None, '12.5', 7, 0)]
    table = read_annotations(write(coco))
    assert table.sizes.tolist() == [[20, 30]] * 4 and table.areas.tolist() == [14, 12.5, 7, 0]


SQUARE = [1, 2, 9, 2, 9, 8, 1, 8]
POINTS = [[1, 2], [9, 2], [9, 8], [1, 8]]
RUNS = [22, 6] + [14, 6] * 7 + [432]  # of the same square in an image 20 high and 30 wide


@pytest.mark.parametrize('segmentation', [
    [SQUARE], SQUARE, POINTS, [POINTS], [SQUARE, [1, 2, 3]], [[5, 5, 6, 6], SQUARE], [POINTS, []],
    dict(size=[20, 30], counts=RUNS), dict(size=[20.0, 30.0], counts=[float(run) for run in RUNS]),
    mask_api.frPyObjects(dict(size=[20, 30], counts=RUNS), 20, 30)])
def test_masks(write, coco, segmentation):
    if isinstance(segmentation, dict) and isinstance(segmentation['counts'], bytes):
        segmentation['counts'] = segmentation['counts'].decode()
    coco['annotations'][0]['segmentation'] = segmentation
    annotation, = read_coco_json(write(coco))['annotations']
    mask = annotation['segmentation']
    expected = np.zeros((20, 30), np.uint8)
    expected[2:8, 1:9] = 1
    assert isinstance(mask, dict) == isinstance(segmentation, dict)
    rle = mask if isinstance(mask, dict) else mask_api.merge(mask_api.frPyObjects(mask, 20, 30))
    assert np.array_equal(mask_api.decode(rle), expected)


@pytest.mark.parametrize('segmentation, expected', [
    ([], None), (None, None), ({}, None), ([[]], []), ([[1, 2, 3, 4]], []), ([[1e9, 1, 2e9, 1, 2e9, 9]], [])])
def test_no_masks(write, coco, segmentation, expected):
    coco['annotations'][0]['segmentation'] = segmentation
    path = write(coco)
    assert read_annotations(path).segmentation(0) == expected
    annotation, = read_coco_json(path)['annotations']  # what the evaluator gets has no pixels and does no harm
    assert annotation.get('segmentation') == (None if expected is None else dict(size=[20, 30], counts=[600]))


@pytest.mark.parametrize('far', [1e5, 1e8, 1e9, 1e300])
def test_polygon_with_a_point_far_outside_is_cut(write, coco, far):
    coco['annotations'][0]['segmentation'] = [[5, 5, far, 5, far, 10, 5, 10], SQUARE]
    coco['annotations'].append(dict(image_id=3, category_id=7, bbox=[1, 2, 8, 9], segmentation=[SQUARE]))
    table = read_annotations(write(coco))
    cut, square = table.segmentation(0)
    assert cut == [5, 5, 60, 5, 60, 10, 5, 10] and square == SQUARE and table.segmentation(1) == [SQUARE]


WRONG = [  # where, value, what the error says
    ('annotations.0.bbox', [1, 2, 8], r'annotations\[0\]\.bbox is \[1,2,8\] \(id 5, image_id 3\); bbox must be 4 '),
    ('annotations.0.bbox', '1,2,8,9', r'annotations\[0\]\.bbox is "1,2,8,9"'),
    ('annotations.0.bbox', [1, 2, 8, '9'], r'annotations\[0\]\.bbox\[3\] is "9".*without quotes'),
    ('annotations.0.bbox', [1, 2, 8, float('nan')], r'annotations\[0\]\.bbox\[3\] is "NaN"'),
    ('annotations.0.bbox', [1, 2, float('inf'), 9], r'annotations\[0\]\.bbox\[2\] is "Infinity"'),
    ('annotations.0.bbox', [1, 2, 8, None], r'annotations\[0\]\.bbox\[3\] is null'),
    ('annotations.0.bbox', [1, 2, -8, 9], r'annotations\[0\]\.bbox is \[1,2,-8,9\].*negative width'),
    ('annotations.0.bbox', [1, 2, 8, -9], 'negative height'), ('annotations.0.bbox', [1e300, 2, 8, 9], 'too far'),
    ('annotations.0.bbox', None, r'annotations\[0\]\.bbox is null'),
    ('annotations.0', None, r'annotations\[0\] is null; it must be an object'),
    ('annotations.0', [5], r'annotations\[0\] is \[5\]'),
    ('annotations.0.image_id', 4, r'annotations\[0\]\.image_id is 4 .*no image .*\[3\].*add the image'),
    ('annotations.0.category_id', 8, r'annotations\[0\]\.category_id is 8 .*no category .*\[7\]'),
    ('annotations.0.category_id', None, r'annotations\[0\]\.category_id is null'),
    ('annotations.0.iscrowd', 2, r'annotations\[0\]\.iscrowd is 2 .*0 or 1'),
    ('annotations.0.ignore', 'maybe', r'annotations\[0\]\.ignore is "maybe"'),
    ('annotations.0.area', 'big', r'annotations\[0\]\.area is "big" .*number'),
    ('annotations.0.area', float('nan'), r'annotations\[0\]\.area is "NaN"'),
    ('images.0', 'a.jpg', r'images\[0\] is "a\.jpg"; it must be an object'),
    ('images.0.width', None, r'images\[0\]\.width is null \(id 3\); width must be the width'),
    ('images.0.width', 0, r'images\[0\]\.width is 0'), ('images.0.height', 20.5, r'images\[0\]\.height is 20\.5'),
    ('images.0.height', '20px', r'images\[0\]\.height is "20px"'), ('images.0.height', -20, 'height is -20'),
    ('images.0.width', float('nan'), 'width is "NaN"'), ('images.0.file_name', '', r'images\[0\]\.file_name is ""'),
    ('images.0.file_name', 5, r'images\[0\]\.file_name is 5'), ('images.0.id', [3], r'images\[0\]\.id is \[3\]'),
    ('categories.0', 'cat', r'categories\[0\] is "cat"; it must be an object'),
    ('categories.0.name', 7, r'categories\[0\]\.name is 7 .*as text'),
    ('annotations.0.segmentation', 'mask.png', r'annotations\[0\]\.segmentation is "mask\.png" .*polygons'),
    ('annotations.0.segmentation', [['1', '2', '3', '4', '5', '6']], r'segmentation is \[\["1"'),
    ('annotations.0.segmentation', [1, 2, 3, 4], r'segmentation is \[1,2,3,4\]'),
    ('annotations.0.segmentation', [1, 2, 3, 4, 5, 6, 7], 'segmentation is'),
    ('annotations.0.segmentation', [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], 'segmentation is'),
    ('annotations.0.segmentation', [[1, 2, 3, 4, 5, float('nan')]], 'NaN'),
    ('annotations.0.segmentation', dict(counts=RUNS), r'annotations\[0\]\.segmentation is \{"counts"'),
    ('annotations.0.segmentation', dict(size=[20, 30]), 'segmentation is'),
    ('annotations.0.segmentation', dict(size=[30, 20], counts=RUNS), r'annotations\[0\]\.segmentation.*swapped'),
    ('annotations.0.segmentation', dict(size=[20, 30], counts=RUNS[:-1]), r'annotations\[0\]\.segm.* 168 pixels'),
    ('annotations.0.segmentation', dict(size=[20, 30], counts=[700, -100]), r'annotations\[0\]\.segmentation'),
    ('annotations.0.segmentation', dict(size=[20, 30], counts='0O'), r'annotations\[0\]\.segmentation'),
    ('annotations.0.segmentation', dict(size=[0, 0], counts=[]), r'annotations\[0\]\.segmentation'),
]


def test_what_is_refused(subtests, write, coco):
    for where, value, message in WRONG:
        with subtests.test(where):
            *parents, last = [int(part) if part.isdigit() else part for part in where.split('.')]
            changed = place = copy.deepcopy(coco)
            for part in parents:
                place = place[part]
            place[last] = value
            with pytest.raises(ValueError, match=message) as raised:
                read_annotations(write(changed))
            assert 'ann.json: ' in str(raised.value)


@pytest.mark.parametrize('name, keys', [
    ('images', ('id', 'file_name', 'height', 'width')), ('categories', ('id', 'name')),
    ('annotations', ('image_id', 'category_id', 'bbox'))])
def test_missing_keys(write, coco, name, keys):
    for key in keys:
        entry = dict(coco[name][0])
        del entry[key]
        with pytest.raises(ValueError, match=rf'ann\.json: {name}\[0\].* has no {key}: add it'):
            read_annotations(write({**coco, name: [entry]}))


def test_repeated_ids(write, coco):
    for name in coco:
        with pytest.raises(ValueError, match=rf'same id for several {name}, first: \d in {name}\[0\] and {name}\[1\]'):
            read_annotations(write({**coco, name: coco[name] * 2}))


def test_the_entry_is_named_in_a_long_file(write, coco):
    entry = coco['annotations'][0]
    coco['annotations'] = [dict(entry, id=i) for i in range(2500)]
    coco['annotations'][2345] = dict(entry, id=2345, iscrowd='x')
    with pytest.raises(ValueError, match=r'annotations\[2345\]\.iscrowd is "x" \(id 2345'):
        read_annotations(write(json.loads(json.dumps(coco))))
