"""Both kinds of files of predictions say the same, and no file runs code."""
import json
import pickle

import numpy as np
import pytest
import torch

from mmdet.datasets import CocoDataset, read_coco_json
from mmdet.errors import UserError
from mmdet.evaluation import DumpCocoResults, DumpDetResults
from mmdet.evaluation.prediction_file import read_detections, read_pickle, read_predictions

CLASSES = ('hare', 'fox')


def square(x, label):
    return dict(id=x + 1, image_id=int(x > 30) + 7, category_id=label, bbox=[x, 2, 10, 8], area=80, iscrowd=0,
                segmentation=[[x, 2, x + 10, 2, x + 10, 10, x, 10]])


@pytest.fixture
def files(tmp_path):
    """Ground truth whose categories stand in another order than the classes; the same predictions as .json and .pkl."""
    truth = tmp_path / 'truth.json'
    truth.write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', height=20, width=50) for i in (7, 8, 9)],
        categories=[dict(id=5, name='fox'), dict(id=3, name='hare')],
        annotations=[square(4, 5), square(20, 3), square(35, 3)])))
    masks = torch.zeros(2, 20, 50, dtype=torch.bool)
    masks[0, 2:10, 4:14] = masks[1, 3:9, 20:30] = True
    found = dict(bboxes=torch.tensor([[4, 2, 14, 10], [20, 3, 30, 9.]]), scores=torch.tensor([.9, .6]),
                 labels=torch.tensor([1, 0]), masks=masks)
    samples = [dict(img_id=7, img_path='7.jpg', ori_shape=(20, 50), pred_instances=found),
               dict(img_id=8, img_path='8.jpg', ori_shape=(20, 50),
                    pred_instances={name: value[:0] for name, value in found.items()})]
    for metric in (DumpDetResults(str(tmp_path / 'found.pkl')),
                   DumpCocoResults(str(tmp_path / 'found.json'), str(truth))):
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, samples)
        metric.evaluate(2)
    return tmp_path


def test_both_files_hold_the_same(files):
    truth = read_coco_json(str(files / 'truth.json'))
    first, second = (read_detections(files / name, truth, 'truth.json') for name in ('found.json', 'found.pkl'))
    assert first == second and [entry['category_id'] for entry in first] == [5, 3]
    with pytest.raises(ValueError, match='found.pkl holds no detections of a category of owls.json'):
        read_detections(files / 'found.pkl', dict(truth, categories=[dict(id=1, name='owl')]), 'owls.json')
    written = json.loads((files / 'found.json').read_text())
    assert [entry['bbox'] for entry in written] == [[4, 2, 10, 8], [20, 3, 10, 6]]

    dataset = CocoDataset(ann_file=str(files / 'truth.json'), metainfo=dict(classes=CLASSES), test_mode=True)
    for name in ('found.json', 'found.pkl'):
        entries = read_predictions(files / name, dataset)
        assert [len(entry['pred_instances']['scores']) for entry in entries] == [2, 0, 0]
        assert entries[0]['pred_instances']['labels'].tolist() == [1, 0] and entries[0]['ori_shape'] == (20, 50)
        assert len(entries[0]['pred_instances']['masks']) == 2 and len(entries[1]['instances']) == 1
    only_fox = CocoDataset(ann_file=str(files / 'truth.json'), metainfo=dict(classes=['fox']), test_mode=True)
    for name in ('found.json', 'found.pkl'):
        found = read_predictions(files / name, only_fox)[0]['pred_instances']
        assert found['labels'].tolist() == [0] and found['scores'].tolist() == pytest.approx([.9])


def test_pickles_of_mmdetection(tmp_path):
    """Without `classes`, of any protocol, with views of storages, NumPy's values and masks in bytes."""
    every = torch.arange(10.).reshape(2, 5)
    entry = dict(img_id=1, scale_factor=(np.float64(.5), .5), flip=False, img_path=None,
                 pred_instances=dict(bboxes=every[:, :4], scores=every[:, 4].half(), labels=np.array([0, 1]),
                                     masks=[dict(size=[2, 2], counts=b'04')] * 2))
    for protocol in range(6):
        (tmp_path / 'a.pkl').write_bytes(pickle.dumps([entry], protocol))
        found = read_pickle(tmp_path / 'a.pkl')[0]['pred_instances']
        assert torch.equal(found['bboxes'], every[:, :4]) and torch.equal(found['scores'], every[:, 4].half())
        assert found['labels'].tolist() == [0, 1] and found['masks'][1]['counts'] == b'04'


class Bomb:
    def __reduce__(self):
        return print, ('BOOM',)


class Inner:
    """A storage whose bytes are a pickle that would run code."""

    def __reduce__(self):
        return torch.storage._load_from_bytes, (pickle.dumps(Bomb()),)


def test_other_pickles_are_named(tmp_path, capsys):
    odd = dict(bboxes=torch.zeros(2, 5), scores=torch.zeros(2), labels=torch.zeros(2))
    for value, message in (
            (Bomb(), 'print'), ([dict(img_id=1, pred_instances=Bomb())], 'print'), ([Inner()], 'print'),
            (dict(a=1), 'holds a dict'), ([], 'holds nothing'), ([[np.zeros((1, 5))]], 'as mmdetection 2 wrote them'),
            ([dict(img_id=1)], 'has no pred_instances'), ([dict(pred_instances=odd)], 'has no img_id'),
            ([dict(img_id=1, pred_instances=odd)], r'bboxes \(2, 5\)')):
        (tmp_path / 'bad.pkl').write_bytes(pickle.dumps(value))
        with pytest.raises(UserError, match=rf'bad\.pkl.*{message}'):
            read_pickle(tmp_path / 'bad.pkl')
    assert 'BOOM' not in capsys.readouterr().out


def test_files_of_other_images_are_named(files):
    truth = read_coco_json(str(files / 'truth.json'))
    for images, name in (([dict(id=70, height=20, width=50)], 'img_id'), ([], 'img_id')):
        with pytest.raises(UserError, match=f'found.pkl holds 2 {name} that truth.json does not list'):
            read_detections(files / 'found.pkl', dict(truth, images=images), 'truth.json')
    (files / 'found.pkl').write_bytes((files / 'found.pkl').read_bytes()[:-200])
    with pytest.raises(UserError, match='found.pkl is no pickle of predictions, or is damaged'):
        read_pickle(files / 'found.pkl')
