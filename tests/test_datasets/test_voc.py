import cv2
import numpy as np
import pytest

from mmdet.datasets import ConcatDataset, VOCDataset
from mmdet.errors import UserError
from mmdet.registry import DATASETS

OBJECT = ('<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>'
          '<ymax>{}</ymax></bndbox></object>')


def write_voc(root, year, pictures):
    """A folder of `year`: for each name the (class, difficult, corners) of its objects."""
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / year / folder).mkdir(parents=True)
    for name, objects in pictures.items():
        cv2.imwrite(str(root / year / f'JPEGImages/{name}.jpg'), np.zeros((60, 80, 3), np.uint8))
        text = ''.join(OBJECT.format(kind, difficult, *corners) for kind, difficult, corners in objects)
        (root / year / f'Annotations/{name}.xml').write_text(
            f'<annotation><size><width>80</width><height>60</height></size>{text}</annotation>')
    (root / year / 'ImageSets/Main/trainval.txt').write_text('\n'.join(pictures))


PICTURES = {'000001': [('dog', 0, ('1', '2', '40.9', '50')), ('person', 1, (5, 5, 45, 45)), ('cup', 0, (1, 1, 60, 60))],
            '000002': [('dog', 0, (1, 1, 11, 51)), ('dog', 0, (7, 7, 7, 9))], '000003': []}


def part(root, year, **kwargs):
    return dict(type='VOCDataset', data_root=str(root), ann_file=f'{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'{year}/'), **kwargs)


def test_years_of_voc_are_joined_by_class_names(tmp_path):
    write_voc(tmp_path, 'VOC2007', PICTURES)
    write_voc(tmp_path, 'VOC2012', {'a': [('cup', 0, (2, 2, 42, 42))], 'b': [('dog', 0, (2, 2, 33, 33))]})
    classes = dict(metainfo=dict(classes=('person', 'dog')))
    cfg = dict(filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=20), **classes)
    joined = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', ignore_keys=['dataset_type'],
        datasets=[part(tmp_path, 'VOC2007', **cfg), part(tmp_path, 'VOC2012', **cfg)])))
    found = [(info['img_id'], [(i['bbox'], i['bbox_label'], i['ignore_flag']) for i in info['instances']])
             for info in map(joined.get_data_info, range(len(joined)))]
    assert found == 2 * [
        ('000001', [([0, 1, 39, 49], 1, 0), ([4, 4, 44, 44], 0, 1)]),
        ('000002', [([0, 0, 10, 50], 1, 1)]),  # less than 20 wide; the other has no width
        ('b', [([1, 1, 32, 32], 1, 0)])]
    assert joined.metainfo['dataset_type'] == 'VOC2007'
    test = VOCDataset(**{key: value for key, value in part(tmp_path, 'VOC2007', test_mode=True).items()
                         if key != 'type'}, **classes)
    assert len(test) == 3 and [len(test.get_data_info(i)['instances']) for i in range(3)] == [2, 2, 0]


def test_names_of_the_files_are_the_classes_where_they_are_not_vocs(tmp_path):
    write_voc(tmp_path, 'cups', {'1': [('cup', 0, (1, 1, 9, 9))], '2': [('Ant', 0, (1, 1, 9, 9))]})
    (tmp_path / 'cups/JPEGImages/2.jpg').rename(tmp_path / 'cups/JPEGImages/2.png')
    dataset = VOCDataset(data_root=str(tmp_path / 'cups'))  # without a list of pictures
    assert dataset.metainfo['classes'] == ('Ant', 'cup') and dataset.get_cat_ids(0) == [1]
    assert dataset.get_data_info(1)['img_path'].endswith('JPEGImages/2.png')
    write_voc(tmp_path, 'VOC2007', {'1': [('dog', 0, (1, 1, 9, 9))]})
    usual = ConcatDataset([part(tmp_path, 'VOC2007')])
    assert len(usual.metainfo['classes']) == 20 and usual.get_cat_ids(0) == [11]


@pytest.mark.parametrize('xml, message', [
    ('', 'no XML, or cut short'), ('<html/>', 'begins with <html>'),
    ('<annotation><object><bndbox/></object></annotation>', 'object 0 has no <name>'),
    ('<annotation><object><name>dog</name></object></annotation>', r'object 0 \(dog\) has no <bndbox>'),
    (f'<annotation>{OBJECT.format("dog", 0, 1, 2, "x", 4)}</annotation>', '<xmax>x</xmax>.*a number'),
    (f'<annotation>{OBJECT.format("dog", 0, 1, 2, "nan", 4)}</annotation>', '<xmax>nan</xmax>.*a number'),
    (f'<annotation>{OBJECT.format("dog", 0, 9, 2, 3, 4)}</annotation>', 'xmax must not be less than xmin'),
    (f'<annotation>{OBJECT.format("dog", "2", 1, 2, 3, 4)}</annotation>', '<difficult>2.*0 or 1')])
def test_what_is_wrong_is_named(tmp_path, xml, message):
    write_voc(tmp_path, 'VOC2007', {'1': []})
    (tmp_path / 'VOC2007/Annotations/1.xml').write_text(xml)
    with pytest.raises(UserError, match=f'1.xml.*{message}'):
        DATASETS.build(part(tmp_path, 'VOC2007'))
