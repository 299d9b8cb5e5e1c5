"""Files as a whole: how they are packed and encoded, and what is no COCO file."""
import gzip
import json

import pytest

from mmdet.datasets import read_coco_json
from mmdet.datasets.annotations import read_annotations


@pytest.mark.parametrize('pack', [
    lambda text: b'\xef\xbb\xbf' + text, gzip.compress, lambda text: gzip.compress(b'\xef\xbb\xbf' + text, mtime=0),
    lambda text: text.replace(b'"info": 0', b'"info": {"score": [NaN, -Infinity, 1e999], "note": "\\ud800"}')])
def test_packings(write, coco, pack):
    """A byte order mark, gzip, and what Python's json writes though JSON has no such numbers."""
    coco['images'][0]['file_name'] = 'Straße 7/é.jpg'
    path = write(pack(json.dumps(dict(coco, info=0), ensure_ascii=False).encode()))
    data = read_coco_json(path)
    assert data['images'] == coco['images'] and data['categories'] == coco['categories']
    assert data['annotations'] == [dict(id=1, image_id=3, category_id=7, bbox=[1, 2, 8, 9], area=72, iscrowd=0)]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere/ann\.json does not exist.*ann_file.*data_root'):
        read_annotations('nowhere/ann.json')
    with pytest.raises(ValueError, match='is a folder'):
        read_annotations(str(tmp_path))


VOC = b'<annotation>\n<folder>VOC2007</folder></annotation>'
YOLO = b'0 0.5 0.5 0.25 0.125\n3 0.1 0.2 0.05 0.05\n'
LABELME = b'{"version": "5.0", "shapes": [{"label": "cat", "points": [[1, 2], [3, 4]]}], "imagePath": "a.jpg"}'


NO_COCO = [
    (b'', 'is empty'), (b' \n', 'is empty'), (VOC, 'XML'), (b'<?xml version="1.0"?>' + VOC, 'XML'), (YOLO, 'YOLO'),
    (LABELME, r"no list \['images', 'annotations', 'categories'\].*COCO format"), (b'[]', 'a list'), (b'3', 'single'),
    (b'[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]', 'result file'),
    (b'{"images": []}', r"no list \['annotations', 'categories'\]"),
    (b'{"images": {"1": {}}, "annotations": [], "categories": []}', 'images must be a list'),
    (b'{"images": [], "annotations": [], "categories": "cat"}', 'categories must be a list'),
    ('{"images": []}'.encode('utf-16'), 'UTF-16'), ('{"images": []}'.encode('utf-16-le'), 'UTF-16'),
    (b'{"images": [' + b'[' * 100000, 'too deep'), (b'[' * 100000, 'a list'), (b'PK\x03\x04', 'unpack'),
    (b'{"images": [{"x": ' + b'{"x":' * 2000 + b'1' + b'}' * 2002, 'too deep|cut short'),
    (b'{"images": [1, 2,}', r'broken.*line 1 column 18'), (b"{'images': []}", 'broken'),
    (b'{"images": []} {"images": []}', 'Extra data'), (b'\x89PNG\r\n\x1a\n', 'not UTF-8'),
    (gzip.compress(b'{"images": []}' * 9, mtime=0)[:-9], 'gzip')]


def test_no_coco_file(subtests, write):
    for data, message in NO_COCO:
        with subtests.test(str(data)):
            with pytest.raises(ValueError, match=rf'ann\.json.*{message}'):
                read_annotations(write(data))


@pytest.mark.parametrize('share', [0.3, 0.6, 0.99])
def test_cut_short(write, coco, share):
    text = json.dumps(coco).encode()
    with pytest.raises(ValueError, match=r'ann\.json is broken or cut short.*again'):
        read_annotations(write(text[:int(share * len(text))]))


def test_latin_1(write, coco):
    coco['images'][0]['file_name'] = 'é.jpg'
    text = json.dumps(coco, ensure_ascii=False).encode('latin-1')
    with pytest.raises(ValueError, match=r'ann\.json.* UTF-8'):
        read_annotations(write(text))


def test_annotations_may_be_missing_in_test_mode_only(write, coco):
    del coco['annotations']
    assert read_annotations(write(coco), test_mode=True).num_objects == 0
    with pytest.raises(ValueError, match=r"no list \['annotations'\]"):
        read_annotations(write(coco))
