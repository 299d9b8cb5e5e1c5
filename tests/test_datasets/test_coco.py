import gzip
import hashlib
import json
import pickle
from pathlib import Path

import cv2
import pytest
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader
from warm_process import CONTEXT

from mmdet.datasets import CocoDataset
from mmdet.datasets.coco_classes import COCO_CLASSES, COCO_PALETTE
from mmdet.datasets.transforms import LoadImageFromFile

DATA = Path(__file__).parents[1] / 'data'
BOXES = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')]


def test_names_and_colours_are_those_that_coco_publishes():
    """The digest is of the 80 entries with isthing=1 in panoptic_coco_categories.json, by cocodataset/panopticapi."""
    told = json.dumps(list(zip(COCO_CLASSES, COCO_PALETTE, strict=True)))
    assert hashlib.sha256(told.encode()).hexdigest() == (
        'a59876c34190a506163778ef5fd93599ce13fc080f7482ae9f872fa77e491f86')


def test_instances_by_hand(tiny):
    dataset = CocoDataset(**tiny.config())
    assert dataset.metainfo['classes'] == ('acorn', 'birch', 'cedar')
    assert dataset.metainfo['palette'] == list(COCO_PALETTE[:3])
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tiny.root / 'images/wide.png')
    assert (info['img_id'], info['height'], info['width'], info['sample_idx']) == (10, 40, 60, 0)
    birch, acorn, crowd = info['instances']
    assert birch == dict(bbox=[10, 5, 30, 20], bbox_label=1, ignore_flag=0,
                       mask=[[10, 5, 30, 5, 30, 20, 10, 20]])
    assert (acorn['bbox_label'], crowd['bbox_label'], crowd['ignore_flag']) == (0, 0, 1)
    assert dataset.get_data_info(2)['instances'] == []
    assert dataset.get_cat_ids(0) == [1, 0, 0]


def test_annotations_nobody_can_learn_from_are_left_out(tiny):
    bad = ([70, 5, 5, 5], [-9, 5, 8, 8], [5, 5, 0.5, 9], [5, 5, 9, 0], [60, 5, 5, 5], [5, 40, 5, 5], [5, -5, 5, 5])
    tiny.data['annotations'] += [tiny.square(100 + i, 30, 2, box) for i, box in enumerate(bad)]
    tiny.data['annotations'] += [dict(tiny.square(200, 30, 2, [5, 5, 9, 9]), area=0),
                                 dict(tiny.square(201, 30, 2, [5, 5, 9, 9]), ignore=1),
                                 tiny.square(202, 30, 2, [-9, 5, 10, 8])]
    tiny.save()
    assert [i['bbox'] for i in CocoDataset(**tiny.config()).get_data_info(2)['instances']] == [[-9, 5, 1, 13]]


def test_what_is_left_out_is_counted_by_reason(tiny, log):
    square = tiny.square
    tiny.data['annotations'] += [
        square(100, 30, 2, [60, 5, 5, 5]), square(101, 30, 2, [5, -5, 5, 5]), square(102, 30, 2, [5, 5, 0.5, 9]),
        dict(square(103, 30, 2, [5, 5, 9, 9]), area=0), dict(square(104, 30, 2, [5, 5, 9, 9]), ignore='1'),
        square(105, 30, 2, [0.1, 0.2, 0.5, 0.25]), dict(square(106, 20, 2, [5, 5, 9, 9]), segmentation=[[1, 2, 3, 4]])]
    tiny.save()
    dataset = CocoDataset(**tiny.config(metainfo=dict(classes=('acorn', 'cedar')),
                                        filter_cfg=dict(filter_empty_gt=True)))
    assert ('ann.json: 7 of 12 objects are left out: 1 of other classes, 1 marked "ignore", 1 with boxes within 0..1 '
            '(are they normalized? COCO boxes are in pixels), 2 outside of the image, 1 with boxes less than a pixel '
            'wide or high, 1 of area 0') in log.text
    assert 'ann.json: 1 objects have no polygon of 3 points or more' in log.text
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == [10, 20, 40]  # 30 has nothing left
    log.clear()
    assert len(CocoDataset(**tiny.config(test_mode=True))) == 4 and 'left out' not in log.text


def test_what_is_most_likely_a_mistake_is_said(tiny, log):
    """Corners in place of width and height, polygons within 0..1, one picture with two entries; a sound file is not."""
    tiny.data['annotations'] = [tiny.square(1, 10, 2, [4, 5, 9, 9]), tiny.square(2, 20, 2, [40, 30, 15, 9])]
    tiny.save()
    CocoDataset(**tiny.config())
    assert 'corners' not in log.text and '0..1' not in log.text and 'several images' not in log.text
    for ann in tiny.data['annotations']:
        x, y, width, height = ann['bbox']
        ann['bbox'] = [x, y, x + width, y + height]
        ann['segmentation'] = [[x / 64, y / 64, x / 64, (y + 9) / 64, (x + 9) / 64, y / 64]]
    tiny.data['images'][1]['file_name'] = tiny.data['images'][0]['file_name']
    tiny.save()
    CocoDataset(**tiny.config())
    assert '1 of 2 boxes reach beyond their image, and each could be corners x1, y1, x2, y2' in log.text
    assert 'ann.json: its polygons lie within 0..1, its boxes do not' in log.text
    assert '1 file names are those of several images, first: ' in log.text


def test_addresses_that_nobody_reads():
    with pytest.raises(ValueError, match=r'annotation file gs://bucket/a\.json: .* Copy it here'):
        CocoDataset('gs://bucket/a.json')
    with pytest.raises(ValueError, match='gs://bucket/1.png cannot be read: gs:// is none of'):
        LoadImageFromFile().transform(dict(img_path='gs://bucket/1.png'))


def test_nothing_left_to_learn(tiny):
    for ann in tiny.data['annotations']:
        ann['bbox'] = [side / 100 for side in ann['bbox']]
    tiny.save()
    with pytest.raises(ValueError, match=r'ann\.json: nothing is left to learn. Of 5 objects.*: 5 with boxes within 0'):
        CocoDataset(**tiny.config())
    assert len(CocoDataset(**tiny.config(test_mode=True))) == 4
    for ann in tiny.data['annotations']:
        ann.update(bbox=[1, 2, 9, 9], iscrowd=1)
    tiny.save()
    with pytest.raises(ValueError, match='nothing is left to learn.*none; the other 5 are crowds'):
        CocoDataset(**tiny.config())


def test_no_objects_at_all(tiny, log):
    tiny.data['annotations'] = []
    tiny.save()
    assert len(CocoDataset(**tiny.config())) == 4 and 'ann.json has no objects' in log.text
    with pytest.raises(ValueError, match='leaves none of the 4 images'):
        CocoDataset(**tiny.config(filter_cfg=dict(filter_empty_gt=True)))


def test_is_read_once(tiny, monkeypatch):
    """When the data set is made, or when it is first asked."""
    reads, read = [], CocoDataset._read_images
    monkeypatch.setattr(CocoDataset, '_read_images', lambda self: reads.append(1) or read(self))
    for lazy in (False, True):
        reads.clear()
        dataset = CocoDataset(**tiny.config(lazy_init=lazy))
        assert len(reads) == (not lazy)
        assert len(dataset) == len([dataset.get_data_info(i) for i in range(4)])
        dataset.full_init()
        assert len(reads) == 1


def test_subset(tiny):
    dataset = CocoDataset(**tiny.config(serialize_data=True))
    ids = lambda data: [data.get_data_info(i)['img_id'] for i in range(len(data))]  # noqa: E731
    assert ids(dataset.get_subset([2, 0, 2])) == [30, 10, 30] and ids(dataset.get_subset(-1)) == [40]
    assert dataset.get_data_info(-1)['sample_idx'] == 3 and ids(dataset) == [10, 20, 30, 40]
    dataset.get_subset_(2)
    assert ids(dataset) == [10, 20]


def test_a_subclass_may_change_what_is_loaded(tiny):
    class Marked(CocoDataset):
        def load_data_list(self):
            infos = super().load_data_list()
            for info in infos:
                info['mark'] = info['img_id'] + 1
            return infos[1:]
    dataset = Marked(**tiny.config(filter_cfg=dict(filter_empty_gt=True)))
    assert [dataset.get_data_info(i)['mark'] for i in range(len(dataset))] == [21, 41]
    with pytest.raises(ValueError, match='none of the 3 images'):
        Marked(**tiny.config(filter_cfg=dict(min_size=500)))


def test_file_names_of_windows(tiny):
    (tiny.root / 'images/back\\slash.png').write_bytes(b'')
    (tiny.root / 'images/a').mkdir()
    (tiny.root / 'images/a/b.png').write_bytes(b'')
    for image, name in zip(tiny.data['images'], ('a\\b.png', 'back\\slash.png', 'no\\file.png'), strict=False):
        image['file_name'] = name
    tiny.save()
    dataset = CocoDataset(**tiny.config())
    assert [dataset.get_data_info(i)['img_path'].partition('images/')[2] for i in range(3)] == \
        ['a/b.png', 'back\\slash.png', 'no\\file.png']


def test_filter_cfg(tiny):
    def ids(**kwargs):
        dataset = CocoDataset(**tiny.config(**kwargs))
        return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    assert ids() == [10, 20, 30, 40]
    assert ids(filter_cfg=dict(filter_empty_gt=True, min_size=32)) == [10, 20]
    assert ids(filter_cfg=dict(filter_empty_gt=True)) == [10, 20, 40]
    assert ids(filter_cfg=dict(min_size=21)) == [10, 20, 30]
    assert ids(filter_cfg=dict(filter_empty_gt=True), metainfo=dict(classes=('cedar',))) == [20]
    assert ids(filter_cfg=dict(filter_empty_gt=True, min_size=32), test_mode=True) == [10, 20, 30, 40]
    assert ids(indices=[3, 1]) == [40, 20]


def test_an_image_with_a_crowd_alone_is_not_empty(tiny):
    del tiny.data['annotations'][:2]
    tiny.save()
    assert CocoDataset(**tiny.config(filter_cfg=dict(filter_empty_gt=True))).get_data_info(0)['img_id'] == 10


def test_labels_follow_the_classes_of_metainfo(tiny):
    dataset = CocoDataset(**tiny.config(metainfo=dict(classes=['cedar', 'acorn'])))
    assert dataset.metainfo['classes'] == ('cedar', 'acorn')
    assert dataset.get_cat_ids(0) == [1, 1] and dataset.get_cat_ids(1) == [0]


def test_classes_of_a_subclass(tiny):
    class Cedars(CocoDataset):
        METAINFO = dict(classes=('cedar',))
    assert [Cedars(**tiny.config()).get_cat_ids(i) for i in range(4)] == [[], [0], [], []]


def test_coco_classes_when_the_file_has_some_of_them(tiny):
    tiny.data['categories'] = [dict(id=2, name='cat'), dict(id=5, name='dog'), dict(id=9, name='person')]
    tiny.save()
    dataset = CocoDataset(**tiny.config())
    assert len(dataset.metainfo['classes']) == 80
    assert dataset.get_cat_ids(0) == [16, 15, 15] and dataset.get_cat_ids(1) == [0]


def test_classes_taken_from_the_file_are_logged(tiny, log):
    CocoDataset(**tiny.config())
    assert "classes=('acorn', 'birch', 'cedar')" in log.text and 'num_classes=3' in log.text


def test_classes_that_match_nothing(tiny):
    with pytest.raises(ValueError, match=r"ann\.json has none of the classes 'acorns', 'Birch', but 'acorn' "
                                         r"\(objects: 3; is it 'acorns'\?\), 'birch' \(objects: 1; is it 'Birch'\?\)"):
        CocoDataset(**tiny.config(metainfo=dict(classes=('acorns', 'Birch'))))


def test_classes_that_match_in_part_are_logged(tiny, log):
    dataset = CocoDataset(**tiny.config(metainfo=dict(classes=('acorns', 'birch'))))
    assert dataset.get_cat_ids(0) == [1]
    assert "has no category 'acorns'" in log.text
    assert "'acorn' (objects: 3; is it 'acorns'?), 'cedar' (objects: 1). They are left out" in log.text


def test_two_categories_of_one_name_are_one_class(tiny, log):
    tiny.data['categories'] = [dict(id=2, name='apple'), dict(id=5, name='pear'), dict(id=9, name='apple')]
    tiny.save()
    dataset = CocoDataset(**tiny.config())
    assert dataset.metainfo['classes'] == ('apple', 'pear')
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[1, 0, 0], [0], [], [0]]
    assert log.text.count("several categories of the name 'apple'") == 1


def test_a_data_set_to_test_follows_by_name(tiny, log):
    """Other ids, another order, a class without objects, and categories that nobody trained."""
    tiny.data['categories'] = [dict(id=9, name='Birch '), dict(id=5, name='acorn'), dict(id=2, name='dog')]
    tiny.save()
    dataset = CocoDataset(**tiny.config(test_mode=True, metainfo=dict(classes=('oak', 'birch', 'acorn'))))
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[2], [], [], []]
    assert "classes 'oak', 'birch', 'acorn': 'Birch ' (objects: 1; is it 'birch'?), 'dog' (objects: 3)." in log.text
    assert 'has no category' not in log.text


def test_concatenated_data_sets_agree_on_labels(tiny, log):
    other = tiny.ann_file.with_name('other.json')
    other.write_text(json.dumps({**tiny.data, 'categories': [
        dict(id=2, name='cedar'), dict(id=5, name='acorn'), dict(id=9, name='elm')]}))
    first = dict(type='CocoDataset', **tiny.config(lazy_init=True))
    second = dict(first, ann_file=other.name)
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=[
        dict(type='RepeatDataset', times=1, dataset=first), dict(type='RepeatDataset', times=1, dataset=second)]))
    assert joined.metainfo['classes'] == ('acorn', 'birch', 'cedar')
    assert [[i['bbox_label'] for i in joined.get_data_info(n)['instances']] for n in (0, 4, 5)] == [
        [1, 0, 0], [0, 2, 2], []]
    assert "'elm' (objects: 1)" in log.text
    second = DATASETS.build(second)
    with pytest.raises(ValueError, match="data set 1 of ConcatDataset has the classes 'cedar', 'acorn', 'elm', "):
        DATASETS.build(dict(type='ConcatDataset', datasets=[first, second]))


def test_classes_written_wrongly(tiny):
    with pytest.raises(ValueError, match=r"'acorn'.*comma"):
        CocoDataset(**tiny.config(metainfo=dict(classes='acorn')))
    with pytest.raises(ValueError, match="'CLASSES'.*'classes'"):
        CocoDataset(**tiny.config(metainfo=dict(CLASSES=('acorn',))))


def test_no_image_left(tiny):
    with pytest.raises(ValueError, match=r'min_size.*none of the 4 images of .*ann\.json; 3 have annotations'):
        CocoDataset(**tiny.config(filter_cfg=dict(min_size=500)))


def test_missing_annotation_file(tiny):
    with pytest.raises(FileNotFoundError, match='other.json does not exist'):
        CocoDataset(data_root=str(tiny.root), ann_file='other.json')


def test_a_real_file(tmp_path):
    ann_file = tmp_path / 'instances.json'
    ann_file.write_bytes(gzip.decompress((DATA / 'instances_val2014_100.json.gz').read_bytes()))
    dataset = CocoDataset(str(ann_file), filter_cfg=dict(filter_empty_gt=True, min_size=32))
    assert len(dataset) == 100 and dataset.metainfo['classes'][79] == 'toothbrush'
    instances = [i for n in range(len(dataset)) for i in dataset.get_data_info(n)['instances']]
    assert len(instances) == 839 and sum(i['ignore_flag'] for i in instances) == 9
    assert all(isinstance(i['mask'], dict) == bool(i['ignore_flag']) for i in instances)


def test_workers_get_equal_images(tiny):
    dataset = CocoDataset(**tiny.config())
    copied = pickle.loads(pickle.dumps(dataset))
    assert [copied.get_data_info(i) for i in range(4)] == [dataset.get_data_info(i) for i in range(4)]


@pytest.mark.parametrize('start', ['fork', CONTEXT.get_start_method()])
def test_workers_run_cv2_without_threads(tiny, start):
    dataset = CocoDataset(**tiny.config(pipeline=[report_threads]))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        loader = DataLoader(dataset, num_workers=1, batch_size=None, multiprocessing_context=start)
        assert [list(item) for item in loader] == [[1]] * 4
    finally:
        cv2.setNumThreads(threads)


def report_threads(results):
    return [cv2.getNumThreads()]


def test_repeat_and_concat(tiny):
    inner = dict(type='CocoDataset', **tiny.config(pipeline=BOXES, lazy_init=True))
    repeated = DATASETS.build(dict(type='RepeatDataset', times=3, dataset=inner))
    assert len(repeated) == 12 and repeated[9]['data_samples'].img_id == 20
    inner = dict(inner, lazy_init=False)
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=[inner, dict(inner, indices=1)]))
    assert len(joined) == 5 and joined[4]['data_samples'].img_id == 10
    assert joined.metainfo['classes'] == repeated.dataset.metainfo['classes'] == ('acorn', 'birch', 'cedar')


def test_image_errors_reach_the_main_process(tiny):
    (tiny.root / 'images/tall.png').unlink()
    dataset = CocoDataset(**tiny.config(pipeline=BOXES))
    with pytest.raises(FileNotFoundError, match=r'images/tall\.png does not exist'):
        list(DataLoader(dataset, num_workers=1, batch_size=None))
