"""tools/eval_results.py"""
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.fileio import load
from pycocotools import mask as mask_api

from mmdet.datasets import read_coco_json
from mmdet.evaluation import coco_evaluation
from mmdet.evaluation.coco_evaluation import coco_index, evaluate_coco

ROOT = Path(__file__).parents[2]


@pytest.fixture
def evaluate(monkeypatch, capsys):
    """Run the tool in this process; its output, cells of tables joined by single bars."""
    spec = importlib.util.spec_from_file_location('eval_results', ROOT / 'tools/eval_results.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run(*args):
        monkeypatch.setattr('sys.argv', ['eval_results.py', *map(str, args)])
        tool.main()
        lines = capsys.readouterr().out.splitlines()
        return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return run


def row(lines, name):
    """The cells behind the name, of the only line that begins with it."""
    found, = [cells[1:] for cells in lines if cells[0] == name and len(cells) > 1]
    return found


def write(path, results):
    path.write_text(json.dumps(results))
    return path


def annotated(unzipped, name):
    return unzipped(f'instances_{name}.json')


def perfect_masks(path, boxes=False):
    """Every object of an annotation file, found once more."""
    data = load(path)
    size = {image['id']: (image['height'], image['width']) for image in data['images']}
    for ann in data['annotations']:
        if not ann['iscrowd']:
            rle = ann['segmentation']
            if isinstance(rle, list):
                rle = mask_api.merge(mask_api.frPyObjects(rle, *size[ann['image_id']]))
                rle['counts'] = rle['counts'].decode()
            result = dict(image_id=ann['image_id'], category_id=ann['category_id'], score=0.5, segmentation=rle)
            yield dict(result, bbox=ann['bbox']) if boxes else result


@pytest.mark.parametrize('evaluator', ['auto', 'pycocotools'])
def test_boxes_of_coco(evaluate, unzipped, evaluator):
    lines = evaluate(annotated(unzipped, 'val2014_100'), unzipped('results_val2014_100.json'),
                     '--evaluator', evaluator, '--classwise')
    assert row(lines, 'results_val2014_100.json') == [
        '0.505', '0.697', '0.573', '0.586', '0.519', '0.501', '0.387', '0.594', '0.595', '0.640', '0.566', '0.564']
    assert len(row(lines, 'person')) == 7


def test_masks_alone(evaluate, unzipped, tmp_path):
    path = annotated(unzipped, 'val2017_2')
    lines = evaluate(path, write(tmp_path / 'masks.json', list(perfect_masks(path))))
    assert row(lines, 'masks.json')[0] == '1.000'
    assert any(cells[0].startswith('segm') for cells in lines) and not any(c[0].startswith('bbox') for c in lines)


def test_boxes_and_masks_of_one_file(evaluate, unzipped, tmp_path):
    path = annotated(unzipped, 'val2017_2')
    results = write(tmp_path / 'both.json', list(perfect_masks(path, boxes=True)))
    kinds = [cells[0].split(':')[0] for cells in evaluate(path, results) if cells[0].split(':')[0] in ('bbox', 'segm')]
    assert kinds == ['bbox', 'segm']
    assert row(evaluate(path, results, '--iou-type', 'segm'), 'both.json')[0] == '1.000'


def test_differences(evaluate, unzipped, tmp_path):
    """Without the detections of persons their AP is 0, and every class else as it was."""
    path, results = annotated(unzipped, 'val2014_100'), unzipped('results_val2014_100.json')
    fewer = write(tmp_path / 'fewer.json', [result for result in load(results) if result['category_id'] != 1])
    lines = evaluate(path, results, fewer, '--classwise')
    before, after = (row(lines, name) for name in ('results_val2014_100.json', 'fewer.json'))
    for cells in zip(before, after, row(lines, 'fewer.json - results_val2014_100.json'), strict=True):
        old, new, change = map(float, cells)
        assert change == pytest.approx(new - old, abs=1.1e-3)
    person = row(lines, 'person')
    assert person[7] == '0.000' and [float(n) for n in person[8:]] == [-float(n) for n in person[1:7]]
    assert {cell for cell in row(lines, 'dog')[8:]} <= {'+0.000', '-'}


@pytest.mark.skipif('faster-coco-eval' not in coco_evaluation.EVALUATORS, reason='faster-coco-eval is not installed')
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_both_evaluators_agree(unzipped, iou_type):
    """Every precision and recall, on real detections and on masks that miss some pixels."""
    path = annotated(unzipped, 'val2014_100')
    annotations, rng = read_coco_json(path), np.random.default_rng(0)
    if iou_type == 'bbox':
        results = load(unzipped('results_val2014_100.json'))
    else:
        results = list(perfect_masks(path))
        for result in results:
            mask = mask_api.decode(result['segmentation'])
            mask[:, rng.integers(0, mask.shape[1]):] = 0
            rle = mask_api.encode(np.asfortranarray(mask))
            result.update(segmentation=dict(rle, counts=rle['counts'].decode()), score=float(rng.random()))
    ours, theirs = (evaluate_coco(coco_index(annotations, name), results, iou_type).eval
                    for name in ('faster-coco-eval', 'pycocotools'))
    for key in ('precision', 'recall', 'scores'):
        np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-9)
    assert (ours['precision'] > 0).any()


MISTAKES = [
    (dict(image_id=-3), r'1 image_id that .* first: \[-3\]'), (dict(category_id=1000), r'1 category_id .*\[1000\]'),
    (dict(score=None), r"entry 0 of .*results.json lacks \['score'\]"),
    (dict(image_id=[]), r"1 image_id .*first: \['\[\]'"),
    (dict(score=float('nan')), 'entry 0 .* has the score nan'), (dict(score='0.5'), "entry 0 .* has the score '0.5'"),
    (dict(score=True), 'has the score True'), (dict(score=10 ** 400), 'entry 0 of .* has the score 1000'),
    (dict(bbox=[1, 2]), r'entry 0 of .* has bbox \[1, 2\].* width, height'),
    (dict(bbox=[1, 2, 3, float('inf')]), 'entry 0 .* finite'), (dict(bbox=[1, 2, -3, 4]), 'entry 0 .* not negative'),
    (dict(bbox=[1, 2, None, 4]), 'entry 0 .* finite'), (dict(bbox='1234'), "entry 0 .* has bbox '1234'"),
    (dict(bbox=7), 'entry 0 .* has bbox 7'), (dict(bbox=[1, 2, 3, True]), 'entry 0 .* has bbox'),
    (dict(segmentation=[[1, 2]]), 'entry 0 of .* must be an RLE'),
    (dict(segmentation=dict(size=[1, 1], counts='1')), 'entry 1 of .* lacks .*segmentation'),
]


def test_mistakes_are_named(subtests, evaluate, unzipped, tmp_path):
    for change, message in MISTAKES:
        with subtests.test(str(change)):
            results = load(unzipped('results_val2014_100.json'))
            results[0].update(change)
            results[0] = {key: value for key, value in results[0].items() if value is not None}
            with pytest.raises(ValueError, match=message):
                evaluate(annotated(unzipped, 'val2014_100'), write(tmp_path / 'results.json', results))


@pytest.mark.parametrize('rle, message', [
    (dict(size=[427, 640]), 'must be an RLE'), (dict(size=[0, 0], counts=''), r'size \[0, 0\]'),
    (dict(size=[640, 427], counts=[427 * 640]), 'the two are swapped'), (dict(counts='111'), 'cover 3 pixels'),
    (dict(counts='`'), 'cut short'), (dict(counts=[427 * 640 + 1, -1]), 'whole numbers')])
def test_masks_that_would_crash_the_evaluators_are_named(evaluate, unzipped, tmp_path, rle, message):
    path = annotated(unzipped, 'val2017_2')
    results = list(perfect_masks(path))
    results[1]['segmentation'] = {'size': [427, 640], **rle}
    with pytest.raises(ValueError, match=f'segmentation of entry 1 of .*masks.json.*{message}'):
        evaluate(path, write(tmp_path / 'masks.json', results))


@pytest.mark.parametrize('text, message', [
    ('[{"image_id": 1,', 'broken or cut short'), ('', 'is empty'), ('[]', 'no detections'), ('{}', 'holds a dict'),
    ('[' * 100000, 'broken'), ('[7]', 'entry 0 of .* lacks'), ('[NaN]', 'entry 0 of .* lacks')])
def test_broken_files(evaluate, unzipped, tmp_path, text, message):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        evaluate(annotated(unzipped, 'val2014_100'), tmp_path / 'results.json')


def test_missing_file(evaluate, unzipped):
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        evaluate(annotated(unzipped, 'val2014_100'), 'none.json')


def test_unfit_options_are_named(evaluate, unzipped, monkeypatch):
    files = annotated(unzipped, 'val2014_100'), unzipped('results_val2014_100.json')
    with pytest.raises(ValueError, match=r"holds only \['bbox'\], .*--iou-type segm"):
        evaluate(*files, '--iou-type', 'segm')
    monkeypatch.setattr(coco_evaluation, 'EVALUATORS', {'pycocotools': coco_evaluation.EVALUATORS['pycocotools']})
    with pytest.raises(ValueError, match='pip install faster-coco-eval'):
        evaluate(*files, '--evaluator', 'faster-coco-eval')
