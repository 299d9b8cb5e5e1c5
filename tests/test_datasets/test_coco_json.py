import json

import pytest

from mmdet.datasets import read_coco_json


def coco():
    return dict(images=[dict(id=3, file_name='a.jpg', height=20, width=30)], categories=[dict(id=7, name='cat')],
                annotations=[dict(id=5, image_id=3, category_id=7, bbox=[1, 2, 8, 9])])


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / 'ann.json'
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)
    return write


def test_fills_in_area_and_iscrowd(write):
    annotation, = read_coco_json(write(coco()))['annotations']
    assert annotation['area'] == 72 and annotation['iscrowd'] == 0


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r'nowhere/ann\.json does not exist.*ann_file.*data_root'):
        read_coco_json('nowhere/ann.json')


@pytest.mark.parametrize('share', [0, 0.4, 0.95])
def test_cut_short(write, share):
    text = json.dumps(coco())
    with pytest.raises(ValueError, match=r'ann\.json is broken or cut short.*again'):
        read_coco_json(write(text[:int(share * len(text))]))


@pytest.mark.parametrize('data', [[], 3, dict(images=[])])
def test_no_coco_file(write, data):
    with pytest.raises(ValueError, match=r'ann\.json is no COCO instances file.*annotations'):
        read_coco_json(write(data))


def test_annotations_may_be_missing_in_test_mode_only(write):
    data = coco()
    del data['annotations']
    assert read_coco_json(write(data), test_mode=True)['annotations'] == []
    with pytest.raises(ValueError, match=r"no list \['annotations'\]"):
        read_coco_json(write(data))


@pytest.mark.parametrize('change, message', [
    (dict(bbox=[1, 2, -8, 9]), r'annotation id 5 in .*ann\.json \(image a\.jpg\) has bbox .* of negative width'),
    (dict(bbox=[1, 2, 8, -9]), 'negative height'),
    (dict(bbox=[1, 2, 8]), '4 finite numbers'),
    (dict(bbox=[1, 2, 8, float('nan')]), '4 finite numbers'),
    (dict(category_id=8), r'annotation id 5 .*a\.jpg.* category_id 8.*\[7\]'),
    (dict(image_id=4), r'annotation id 5 in .*ann\.json belongs to image id 4'),
])
def test_annotation_that_contradicts_itself(write, change, message):
    data = coco()
    data['annotations'][0].update(change)
    with pytest.raises(ValueError, match=message):
        read_coco_json(write(data))


def test_repeated_ids(write):
    data = coco()
    data['annotations'] *= 2
    with pytest.raises(ValueError, match='same id for several annotations, first: 5'):
        read_coco_json(write(data))


def test_image_without_size(write):
    data = coco()
    del data['images'][0]['height']
    with pytest.raises(ValueError, match=r"image id 3 in .* has no \['height'\]"):
        read_coco_json(write(data))
