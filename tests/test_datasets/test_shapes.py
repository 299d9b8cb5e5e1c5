import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
from mmengine.fileio import load
from pycocotools import mask as mask_api

from mmdet.datasets import ShapesDataset
from mmdet.datasets.shapes import _annotate, make_shapes
from mmdet.datasets.shapes_scene import LEAST_VISIBLE, SCALE, SHAPES, draw_scene, outline
from mmdet.errors import UserError


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    make_shapes(root, num_train=60, num_val=3)
    return root


def decode(segmentation, height, width):
    if isinstance(segmentation, list):
        return mask_api.decode(mask_api.merge(mask_api.frPyObjects(segmentation, height, width)))
    if isinstance(segmentation['counts'], list):
        segmentation = mask_api.frPyObjects(segmentation, height, width)
    return mask_api.decode(segmentation)


def test_holds_what_a_real_data_set_holds(root):
    data = load(root / 'annotations' / 'train.json')
    annotations = data['annotations']
    objects = [a for a in annotations if not a['iscrowd']]
    assert {a['category_id'] for a in objects} == {1, 2, 3, 4, 5}
    assert any(a['iscrowd'] for a in annotations)
    assert len({a['image_id'] for a in annotations}) < 60
    assert {len(a['segmentation']) > 1 for a in objects if isinstance(a['segmentation'], list)} == {True, False}
    assert any(isinstance(a['segmentation'], dict) for a in objects)
    assert all(isinstance(a['segmentation']['counts'], list) for a in annotations if a['iscrowd'])
    sizes = np.array([(i['height'], i['width']) for i in data['images']])
    assert sizes.min() >= 160 and sizes.max() <= 256 and len(set(map(tuple, sizes.tolist()))) > 30
    assert 10 < (sizes[:, 0] > sizes[:, 1]).sum() < 40
    areas = np.array([a['area'] for a in objects])
    assert (areas < 32 ** 2).any() and (areas > 64 ** 2).any() and areas.min() > 30
    json.dumps(data)


def test_masks_boxes_and_areas_agree_and_do_not_overlap(root):
    data = load(root / 'annotations' / 'train.json')
    for image in data['images']:
        owners = np.zeros((image['height'], image['width']), np.uint8)
        for ann in (a for a in data['annotations'] if a['image_id'] == image['id']):
            mask = decode(ann['segmentation'], image['height'], image['width'])
            assert abs(int(mask.sum()) - ann['area']) <= 0.12 * ann['area'] + 4
            x, y, w, h = cv2.boundingRect(mask)
            assert np.abs(np.array(ann['bbox']) - (x, y, w, h)).max() <= 1.5
            owners += cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
        assert owners.max() <= 1


def test_pictures_are_there(root):
    for split, number in (('train', 60), ('val', 3)):
        data = load(root / 'annotations' / f'{split}.json')
        assert len(data['images']) == number
        for image in data['images']:
            assert cv2.imread(str(root / split / image['file_name'])).shape == (image['height'], image['width'], 3)


def test_the_same_seed_draws_the_same(root, tmp_path):
    make_shapes(tmp_path / 'again', num_train=2, num_val=3)
    make_shapes(tmp_path / 'other', num_train=2, num_val=3, seed=1)
    again, other = (tmp_path / name / 'annotations' / 'val.json' for name in ('again', 'other'))
    assert again.read_bytes() == (root / 'annotations' / 'val.json').read_bytes() != other.read_bytes()
    assert (tmp_path / 'again/val/000000.jpg').read_bytes() == (root / 'val/000000.jpg').read_bytes()
    train, val = (load(tmp_path / 'again/annotations' / f'{s}.json')['annotations'][0] for s in ('train', 'val'))
    assert train['bbox'] != val['bbox']


def test_objects_stay_visible():
    for seed in range(40):
        image, items = draw_scene(np.random.default_rng(seed))
        for item in items:
            assert item.mask.shape == (SCALE * image.shape[0], SCALE * image.shape[1])
            assert item.mask.sum() >= 80 * SCALE ** 2 * LEAST_VISIBLE or item.crowd


def test_outlines_fit_the_unit_circle_and_differ():
    for label in range(len(SHAPES)):
        points = outline(label, np.random.default_rng(0))
        assert 0.9 < np.linalg.norm(points, axis=1).max() < 1.1


def test_annotation_of_a_rectangle_and_of_a_frame():
    mask = np.zeros((20 * SCALE, 30 * SCALE), bool)
    mask[4 * SCALE:14 * SCALE, 6 * SCALE:26 * SCALE] = True
    whole = _annotate(mask, crowd=False)
    assert whole['bbox'] == [6, 4, 20, 10] and whole['area'] == 200
    assert sorted(map(tuple, np.reshape(whole['segmentation'][0], (-1, 2)).tolist())) == [
        (6, 4), (6, 14), (26, 4), (26, 14)]
    mask[8 * SCALE:10 * SCALE, 10 * SCALE:12 * SCALE] = False
    for crowd in (False, True):
        frame = _annotate(mask, crowd)
        assert isinstance(frame['segmentation']['counts'], list if crowd else str)
        pixels = decode(frame['segmentation'], 20, 30)
        assert pixels.sum() == frame['area'] == 196 and not pixels[8:10, 10:12].any()


def test_data_set_makes_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(make_shapes, '__defaults__', (5, 2, 0))
    dataset = ShapesDataset(data_root=str(tmp_path / 'a/b/shapes/'), ann_file='annotations/train.json',
                            data_prefix=dict(img='train/'), pipeline=[dict(type='LoadImageFromFile')])
    assert len(dataset) == 5 and dataset[4]['img'].shape[2] == 3
    assert dataset.metainfo['classes'] == SHAPES
    stamp = (tmp_path / 'a/b/shapes/annotations/train.json').stat().st_mtime_ns
    ShapesDataset(data_root=str(tmp_path / 'a/b/shapes/'), ann_file='annotations/val.json')
    assert (tmp_path / 'a/b/shapes/annotations/train.json').stat().st_mtime_ns == stamp
    assert [p.name for p in (tmp_path / 'a/b').iterdir()] == ['shapes']


def test_several_processes_at_once(tmp_path):
    with ProcessPoolExecutor(3, mp_context=get_context('fork')) as pool:
        for future in [pool.submit(make_shapes, tmp_path / 'shapes', 4, 2) for _ in range(3)]:
            future.result()
    assert [p.name for p in tmp_path.iterdir()] == ['shapes']
    assert len(load(tmp_path / 'shapes/annotations/train.json')['images']) == 4


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'shapes').mkdir()
    (tmp_path / 'shapes/notes.txt').write_text('mine')
    with pytest.raises(UserError, match='shapes.*remove what is there'):
        make_shapes(tmp_path / 'shapes', 2, 1)
    assert (tmp_path / 'shapes/notes.txt').read_text() == 'mine' and len(list(tmp_path.iterdir())) == 1
