"""Tools that read predictions: their figures are those of mmdetection 3.3's scripts, which were run on these files."""
import csv
import json
import pickle
import runpy

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from run_tool import ROOT, run

from mmdet.datasets import read_coco_json
from mmdet.evaluation.coco_error_analysis import error_precisions, with_supercategories

CONFIG = '''model = dict(type='FasterRCNN')
test_dataloader = dict(dataset=dict(type='CocoDataset', ann_file={ann!r}, data_prefix=dict(img={img!r}), test_mode=True,
                                    metainfo=dict(classes=('a', 'b', 'c', 'd')), pipeline=[]))
test_evaluator = dict(type='CocoMetric', ann_file={ann!r})
'''


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """8 images with 64 objects of 4 classes, some of them crowds, and detections as .json and as .pkl."""
    folder = tmp_path_factory.mktemp('found')
    rng = np.random.default_rng(3)
    images = [dict(id=i, file_name=f'{i}.jpg', height=200, width=200) for i in range(1, 9)]
    categories = [dict(id=c, name='abcd'[c - 1], supercategory='xy'[(c - 1) // 2]) for c in range(1, 5)]
    objects, found = [], []

    def detect(image, category, box):
        found.append(dict(image_id=image, category_id=int(category), bbox=[float(v) for v in box],
                          score=float(rng.random())))
    for i in range(1, 9):
        for _ in range(8):
            size = rng.choice([12, 30, 60, 120]) * (.7 + .6 * rng.random(2))
            x, y, w, h = box = [float(v) for v in (*(rng.random(2) * (200 - size).clip(0)), *size)]
            category = int(rng.integers(1, 5))
            objects.append(dict(id=len(objects) + 1, image_id=i, category_id=category, bbox=box, area=w * h,
                                iscrowd=int(rng.random() < .1)))
            for _ in range(int(rng.integers(0, 4))):
                moved = np.array(box) + rng.normal(0, size.mean() * .12, 4)
                moved[2:] = moved[2:].clip(2)
                detect(i, category if rng.random() < .6 else rng.integers(1, 5), moved)
        for _ in range(3):
            detect(i, rng.integers(1, 5), (*rng.random(2) * 150, 20, 30))
        cv2.imwrite(str(folder / f'{i}.jpg'), np.full((200, 200, 3), 128, np.uint8))
    (folder / 'truth.json').write_text(json.dumps(dict(images=images, categories=categories, annotations=objects)))
    (folder / 'found.json').write_text(json.dumps(found))
    entries = []
    for image in images:
        own = [d for d in found if d['image_id'] == image['id']]
        boxes = torch.tensor([d['bbox'] for d in own])
        boxes[:, 2:] += boxes[:, :2]
        entries.append(dict(img_id=image['id'], img_path=image['file_name'], ori_shape=(200, 200), pred_instances=dict(
            bboxes=boxes, scores=torch.tensor([d['score'] for d in own]),
            labels=torch.tensor([d['category_id'] - 1 for d in own]))))
    (folder / 'found.pkl').write_bytes(pickle.dumps(entries))
    (folder / 'config.py').write_text(CONFIG.format(ann=str(folder / 'truth.json'), img=str(folder)))
    return folder


def test_coco_error_analysis(files):
    annotations = with_supercategories(read_coco_json(str(files / 'truth.json')), str(files / 'truth.json'))
    precisions = error_precisions(annotations, json.loads((files / 'found.json').read_text()), 'bbox')
    assert precisions[:, :, :, 0].mean(axis=(1, 2)) == pytest.approx(
        [.03033946, .2704917, .47893338, .57699567, .72462871, .75990099, 1])
    text = run('analysis/coco_error_analysis.py', 'found.pkl', 'errors', '--ann', 'truth.json', cwd=files)
    assert '| allclass | 0.030 | 0.270 | 0.479 | 0.577 | 0.725 | 0.760 | 1.000 |' in text
    assert cv2.imread(str(files / 'errors/bbox/bbox-allclass-allarea.png')) is not None
    assert len(list((files / 'errors/bbox').glob('*.png'))) == 5 * 4


def test_errors_are_of_the_best_100_of_a_picture():
    truth = dict(images=[dict(id=1, height=99, width=99)], categories=[dict(id=1, name='a')], annotations=[
        dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 50, 50], area=2500, iscrowd=0)])
    found = [dict(image_id=1, category_id=1, bbox=[60, 60, 9, 9], score=.9)] * 100
    found.append(dict(found[0], bbox=[0, 0, 50, 50], score=.1))
    assert not error_precisions(truth, found, 'bbox')[:5].any()
    assert error_precisions(truth, found[1:], 'bbox')[:5, 0, 0, 0].tolist() == [.01] * 5


def test_confusion_matrix(files):
    run('analysis/confusion_matrix.py', 'config.py', 'found.pkl', 'confused', '--score-thr', .2, cwd=files)
    with open(files / 'confused/confusion_matrix.csv') as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == ['a', 'b', 'c', 'd', 'background']
    assert [list(map(int, row[1:])) for row in rows[1:]] == [
        [13, 2, 4, 2, 10], [1, 14, 6, 4, 8], [1, 3, 4, 1, 7], [1, 0, 0, 11, 6], [9, 12, 3, 8, 0]]
    assert cv2.imread(str(files / 'confused/confusion_matrix.png')) is not None


def test_eval_metric(files):
    truth = COCO(files / 'truth.json')
    expected = COCOeval(truth, truth.loadRes(str(files / 'found.json')), 'bbox')
    expected.evaluate()
    expected.accumulate()
    expected.summarize()
    for name in ('found.pkl', 'found.json'):
        text = run('analysis/eval_metric.py', 'config.py', name, cwd=files)
        assert f"'coco/bbox_mAP': {expected.stats[0]:.3g}, 'coco/bbox_mAP_50': {expected.stats[1]:.3g}" in text
        text = run('eval_results.py', 'truth.json', name, cwd=files)
        assert f'| {expected.stats[0]:.3f} | {expected.stats[1]:.3f} |' in text


def test_analyze_results(files):
    """Of the picture that is found exactly, and of those where nothing was found."""
    truth = json.loads((files / 'truth.json').read_text())
    exact = [dict(image_id=3, category_id=o['category_id'], bbox=o['bbox'], score=.9)
             for o in truth['annotations'] if o['image_id'] == 3 and not o['iscrowd']]
    (files / 'exact.json').write_text(json.dumps(exact))
    text = run('analysis/analyze_results.py', 'config.py', 'exact.json', 'shown', '--topk', 1, cwd=files)
    assert 'mean AP of a picture 0.125' in text
    assert cv2.imread(str(files / 'shown/good/3_1.000.jpg')).shape == (200, 408, 3)
    assert [path.name for path in (files / 'shown/bad').iterdir()] == ['1_0.000.jpg']


def test_robustness_is_the_mean_of_what_is_spoilt():
    summary = runpy.run_path(str(ROOT / 'tools/analysis/test_robustness.py'), run_name='tool')['summary']
    assert summary(dict(fog={0: dict(l=-1.), 1: dict(l=-1.)}), ['l'], 'all') == dict(P=[None], mPC=[None], rPC=[None])
    results = dict(fog={0: dict(mAP=.5), 1: dict(mAP=.4), 3: dict(mAP=.1)}, snow={0: dict(mAP=.5), 1: dict(mAP=.1)},
                   spatter={0: dict(mAP=.5), 1: dict(mAP=.6)})
    assert summary(results, ['mAP'], 'benchmark') == dict(P=[.5], mPC=[pytest.approx(.2)], rPC=[pytest.approx(.4)])
    assert summary(results, ['mAP'], 'all')['mPC'] == [pytest.approx(.3)]


def test_fuse_results(files):
    """Of a file with itself nothing changes but boxes of one class that overlap, and their scores."""
    text = run('analysis/fuse_results.py', 'found.pkl', 'found.json', '--annotation', 'truth.json', '--eval-single',
               '--fusion-iou-thr', .99, '--save-fusion-results', cwd=files)
    rows = [line.split('|')[1:] for line in text.splitlines() if line.startswith('| f')]
    (_, *single), (_, *other), (_, *fused) = rows
    assert single == other == fused
    assert len(json.loads((files / 'outputs/fusion_results.json').read_text())) == 121


def test_predictions_of_another_data_set_are_named(files):
    (files / 'other.json').write_text(json.dumps([dict(image_id=99, category_id=1, score=1, bbox=[0, 0, 1, 1])]))
    text = run('analysis/eval_metric.py', 'config.py', 'other.json', cwd=files, fails=True)
    assert 'other.json holds 1 image_id that' in text and 'Traceback' not in text
