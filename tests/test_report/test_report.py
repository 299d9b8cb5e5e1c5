"""What the report says, each figure computed another way; and the page in a browser."""
import csv
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet.errors import UserError
from mmdet.evaluation.result_file import evaluated_file
from mmdet.report import EVALUATED, Evaluated, Run, figure_name, plots
from mmdet.report.analysis import calibration, confusion, errors, mean_ap, ranked_pictures, thresholds
from mmdet.report.matching import match
from mmdet.report.page import write_report
from mmdet.report.results_csv import write_results
from mmdet.report.run import differences, flat
from mmdet.report.sections import comparison, detections

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


def found(truth, detections, classes=('a', 'b'), paths=('', '')):
    """An Evaluated; truth: (image, label, box, crowd), detections: (image, label, score, box)."""
    truth, detections = list(zip(*truth)), list(zip(*detections))
    return Evaluated(list(classes), list(paths), np.array(truth[0]), np.array(truth[1]),
                     np.array(truth[2], np.float32), np.array(truth[3], bool), np.array(detections[0]),
                     np.array(detections[1]), np.array(detections[2], np.float32),
                     np.array(detections[3], np.float32))


@pytest.fixture
def by_hand():
    """Image 0 has a at 0 to 100 and b at 200 to 300, and a crowd of a; image 1 has a."""
    return found(
        [(0, 0, (0, 0, 100, 100), False), (0, 1, (200, 0, 300, 100), False), (0, 0, (0, 200, 300, 300), True),
         (1, 0, (0, 0, 10, 10), False)],
        [(0, 0, .9, (0, 0, 100, 90)),       # right
         (0, 0, .8, (0, 0, 90, 100)),       # duplicate
         (0, 0, .71, (200, 0, 300, 95)),    # classification
         (0, 1, .65, (200, 0, 300, 40)),    # localization
         (0, 0, .6, (0, 210, 50, 290)),     # in the crowd
         (0, 0, .5, (500, 500, 600, 600)),  # background
         (1, 1, .4, (0, 0, 10, 3))])        # both


def test_kinds_of_errors(by_hand):
    matches = match(by_hand)
    assert matches.found.tolist() == [0, -1, -1, -1, -1, -1, -1]
    assert matches.ignored.tolist() == [False] * 4 + [True] + [False] * 2
    told = errors(by_hand, matches)
    # a: 1 of 2 objects found at precision 1, so 51 of 101 recalls are reached; b: nothing.
    assert told.ap50 == pytest.approx((51 / 101 + 0) / 2)
    assert told.counts == dict(classification=1, localization=1, both=1, duplicate=1, background=1, missed=1)
    # b's object is found by the mended box, alone or behind nothing wrong; without the missed a has 1 object, found.
    expected = dict(classification=.5, localization=.5, both=0, duplicate=0, background=0, missed=50 / 101 / 2)
    assert told.gains == pytest.approx(expected)
    assert [tuple(p) for p in ranked_pictures(by_hand, matches, .55)] == [(0, 1, 3, 1), (1, 0, 0, 1)]


def test_thresholds_and_calibration(by_hand):
    matches = match(by_hand)
    curve = thresholds(by_hand, matches)
    for score, precision, recall in ((0, 1 / 6, 1 / 3), (.66, 1 / 3, 1 / 3), (.85, 1, 1 / 3), (.95, 1, 0)):
        at = int(round(score * 100))
        assert (curve.precision[at], curve.recall[at]) == pytest.approx((precision, recall))
    assert curve.f1.max() == pytest.approx(.5) and .8 < curve.score[curve.best] <= .9
    told = calibration(by_hand, matches)
    assert told.number.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert told.error == pytest.approx((.4 + .5 + .65 + .71 + .8 + .1) / 6)


def brute_confusion(e, score_thr, iou_thr):
    k = len(e.classes)
    table = np.zeros((k + 1, k + 1), int)

    def iou(a, b):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        common = max(w, 0) * max(h, 0)
        return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)
    hit = set()
    for d in range(len(e.score)):
        if e.score[d] < score_thr:
            continue
        covered = [g for g in range(len(e.gt_label)) if e.gt_image[g] == e.image[d] and not e.gt_crowd[g]
                   and iou(e.gt_box[g], e.box[d]) >= iou_thr]
        for g in covered:
            table[e.gt_label[g], e.label[d]] += 1
            if e.gt_label[g] == e.label[d]:
                hit.add(g)
        table[k, e.label[d]] += not covered
    for g in range(len(e.gt_label)):
        table[e.gt_label[g], k] += g not in hit and not e.gt_crowd[g]
    return table


def boxes(rng, count):
    corner = rng.random((count, 2)) * 60
    return np.concatenate([corner, corner + 10 + rng.random((count, 2)) * 40], axis=1)


def test_confusion():
    rng = np.random.default_rng(0)
    e = found(list(zip(rng.integers(0, 4, 40), rng.integers(0, 3, 40), boxes(rng, 40), rng.random(40) < .1)),
              list(zip(rng.integers(0, 4, 90), rng.integers(0, 3, 90), rng.random(90), boxes(rng, 90))), 'abc', 'wxyz')
    for score_thr, iou_thr in ((.3, .5), (0., .2)):
        expected = brute_confusion(e, score_thr, iou_thr)
        assert (confusion(e, score_thr, iou_thr) == expected).all() and expected.sum() > 80


def coco_files(folder):
    """Ground truth and detections of 12 images, as files."""
    rng = np.random.default_rng(1)
    images, annotations, results = [], [], []
    for i in range(12):
        cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(0, 255, (90, 120, 3), np.uint8))
        images.append(dict(id=i + 7, file_name=f'{i}.jpg', width=120, height=90))
        for box in boxes(rng, 4):
            x, y, w, h = [float(v) for v in (*box[:2], *(box[2:] - box[:2]))]
            kind = int(rng.choice([3, 5, 9]))
            annotations.append(dict(id=len(annotations), image_id=i + 7, category_id=kind, bbox=[x, y, w, h],
                                    area=w * h, iscrowd=int(rng.random() < .1)))
            for _ in range(rng.integers(0, 4)):
                moved = (box + rng.normal(0, 4, 4)).tolist()
                results.append(dict(image_id=i + 7, category_id=kind if rng.random() < .8 else 5,
                                    score=float(rng.random()), bbox=[*moved[:2], max(moved[2] - moved[0], 1),
                                                                     max(moved[3] - moved[1], 1)]))
    categories = [dict(id=i, name=name) for i, name in ((9, 'nine'), (3, 'three'), (5, 'five'), (11, 'none'))]
    (folder / 'truth.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    (folder / 'found.json').write_text(json.dumps(results))
    return folder / 'truth.json', folder / 'found.json'


def test_matching_is_cocos(tmp_path):
    """AP50 by our matching is that of the evaluator, class by class; what is saved comes back."""
    e = evaluated_file(*coco_files(tmp_path), tmp_path)
    matches = match(e)
    objects = np.bincount(e.gt_label[~e.gt_crowd], minlength=4)
    for k in range(3):
        theirs = e.precision['bbox'][0, :, k, 0].mean()
        only = np.where(np.arange(4) == k, objects, 0)
        assert mean_ap(e.label, e.score, matches.found >= 0, matches.ignored, only) == pytest.approx(theirs, abs=1e-6)
        assert 0.2 < theirs < 0.95
    assert e.classes == ['nine', 'three', 'five', 'none'] and (e.precision['bbox'][:, :, 3] == -1).all()
    e.save(tmp_path / EVALUATED)
    again = Evaluated.load(tmp_path / EVALUATED)
    assert again.paths == e.paths and (again.box == e.box).all()
    np.testing.assert_allclose(again.recall['bbox'], e.recall['bbox'], rtol=1e-6)


def log(folder, name, lines):
    (folder / name / 'vis_data').mkdir(parents=True)
    (folder / name / 'vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"loss": 1, "st')


@pytest.fixture
def work_dir(tmp_path):
    """A training that was cut behind step 30 and resumed from step 20."""
    folder = tmp_path / 'run'
    step = dict(lr=.1, time=.5, memory=100, epoch=1, loss_cls=.2)
    log(folder, '1', [dict(step, step=s, loss=9. - s / 10) for s in (10, 20, 30)])
    log(folder, '2', [dict(step, step=s, loss=1.) for s in (30, 40)] + [
        {'coco/bbox_mAP': .25, 'coco/bbox_mAP_50': .5, 'time': .1, 'step': 1},
        {'coco/bbox_mAP': .375, 'coco/bbox_mAP_50': .625, 'time': .1, 'step': 2}])
    (folder / '2/2.log').write_text('INFO - Environment\n    Python   3.11\n    Device   CPU\n\n')
    (folder / 'net.py').write_text("model = dict(type='A', heads=[dict(n=1), dict(n=2)])\nlr = [1, 2]\n")
    return folder


def test_a_resumed_run_is_one(work_dir):
    run = Run.open(work_dir)
    steps, losses = run.series('loss')
    assert steps.tolist() == [10, 20, 30, 40] and losses.tolist() == [8., 7., 1., 1.]
    assert run.series('coco/bbox_mAP', 'validations')[1].tolist() == [.25, .375]
    assert run.metrics == ['coco/bbox_mAP', 'coco/bbox_mAP_50'] and run.keys == ['loss_cls']
    assert run.environment == dict(Python='3.11', Device='CPU')
    assert run.config == {'model.type': 'A', 'model.heads.0.n': 1, 'model.heads.1.n': 2, 'lr': [1, 2]}
    assert differences(run.config, flat(dict(model=dict(type='B', heads=[dict(n=1)]), lr=[1, 2]))) == [
        ('model.type', 'A', 'B'), ('model.heads.1.n', 2, '')]
    with pytest.raises(UserError, match='holds no log of a training'):
        Run.open(work_dir.parent)


def test_names_of_figures():
    for key, text, group, item in (
            ('coco/bbox_mAP', 'box AP', 'box AP', 'AP'), ('coco/segm_mAP_75', 'mask AP75', 'mask AP', 'AP75'),
            ('night/coco/bbox_mAP_s', 'night: box AP small', 'night: box AP', 'small'),
            ('lvis/bbox_AP50', 'LVIS box AP50', 'LVIS box AP', 'AP50'),
            ('lvis/segm_APr', 'LVIS mask AP rare', 'LVIS mask AP', 'rare'),
            ('pascal_voc/AP50', 'VOC AP50', 'VOC AP', 'AP50'),
            ('cityscapes/AP@50', 'Cityscapes mask AP50', 'Cityscapes mask AP', 'AP50'),
            ('coco/segm_car_precision', 'mask AP of car', 'mask AP of each class', 'car'),
            ('coco/segment_precision', 'box AP of segment', 'box AP of each class', 'segment'),
            ('coco/AR_s@1000', 'AR small at 1000', 'AR of proposals', 'small at 1000'),
            ('mine/speed', 'mine/speed', 'mine/speed', 'speed')):
        assert tuple(figure_name(key)) == (text, group, item)


def test_table_of_a_training(work_dir):
    rows = list(csv.DictReader(write_results(Run.open(work_dir)).open()))
    assert [row['epoch'] for row in rows] == ['1', '2'] and [row['train/loss'] for row in rows] == ['4.25', '']
    assert [row['coco/bbox_mAP'] for row in rows] == ['0.25', '0.375']


def test_comparison_of_one_validation_each(tmp_path):
    for name, launcher in (('a', 'none'), ('b', 'pytorch')):
        log(tmp_path / name, '1', [dict(step=5, loss=2.), {'coco/bbox_mAP': .5, 'coco/bbox_mAP_l': -1., 'step': 1}])
        (tmp_path / name / 'net.py').write_text(f"launcher = '{launcher}'\nlr = {len(launcher)}\n")
    section = comparison([Run.open(tmp_path / name) for name in 'ab'])
    figures, configs = section.tables
    assert figures.rows[:2] == [['box AP', '0.500', '0.500'], ['box AP large', '-', '-']]
    assert configs.rows == [['lr', '4', '7']]
    point = plots.lines('', dict(a=(np.arange(1), np.arange(1))), '')
    assert point.count('<use') == plots.lines('', dict(a=(np.arange(1), np.arange(1))), '', markers=True).count('<use')


def test_pictures_that_are_gone_are_named(tmp_path):
    found = evaluated_file(*coco_files(tmp_path), tmp_path)
    gone = replace(found, paths=[f'gone/{Path(path).name}' for path in found.paths])
    assert not detections(gone)[0][-1].pictures and 'Not found: gone/' in detections(gone)[0][-1].texts[-1]


def opened(page):
    """What the browser writes of a page into its console, and the page's elements when it has run."""
    copy = page.with_name('opened.html')
    check = ('<script>onload = () => {document.title = [...document.images].filter(i => i.naturalWidth > 200).length'
             ' + " of " + document.images.length + " " + document.querySelectorAll("svg").length}</script>')
    copy.write_text(page.read_text().replace('</head>', check + '</head>'))
    done = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run',
         '--disable-component-update', '--disable-sync', f'--user-data-dir={page.parent / "profile"}',
         '--enable-logging=stderr', '--dump-dom', f'file://{copy}'], capture_output=True, text=True, timeout=120)
    return [line for line in done.stderr.splitlines() if 'CONSOLE' in line], done.stdout


def test_page(work_dir, tmp_path):
    (tmp_path / 'photos').mkdir()
    evaluated = evaluated_file(*coco_files(tmp_path / 'photos'), tmp_path / 'photos')
    evaluated.save(work_dir / EVALUATED)
    shutil.copytree(work_dir, tmp_path / 'other <b>')
    page = write_report(work_dir, [Run.open(work_dir), Run.open(tmp_path / 'other <b>')], source='x = "<script>"')
    text = page.read_text()
    assert page.name == 'report.html' and not re.search(r'(src|href)="(?!data:|#)', text)
    assert not re.search('m?AP_|coco/', text) and text.count('>Box AP<') == 3
    assert '<b>0.625</b><span>box AP50</span>' in text
    assert 'iteration 40, epoch 1' in text and 'x = &#34;&lt;script&gt;' in text
    assert html.unescape(text).count('other <b>') >= 3 and '<b>other' not in text
    ap = evaluated.precision['bbox'][..., :3, 0].mean()
    assert f'<td>all classes</td><td>{(~evaluated.gt_crowd).sum()}</td><td>{ap:.3f}</td>' in text
    if BROWSER is None:
        pytest.skip('needs Chromium to look at the page')
    console, shown = opened(page)
    number, total, plots = map(int, re.search(r'<title>(\d+) of (\d+) (\d+)</title>', shown).groups())
    assert number == total == 12 and plots >= 12 and console == []


def test_detections_alone(tmp_path):
    truth, results = coco_files(tmp_path)
    page = write_report(Path(tmp_path, 'out.html'), evaluated=evaluated_file(truth, results), title='x')
    assert 'Detections' in page.read_text() and '<img' not in page.read_text()
