"""tools/eval_results.py"""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.fileio import load

ROOT = Path(__file__).parents[2]


def evaluate(*args):
    return subprocess.run([sys.executable, str(ROOT / 'tools/eval_results.py'), *map(str, args)], text=True,
                          capture_output=True, cwd=ROOT, env={'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})


def test_boxes_of_coco(unzipped):
    done = evaluate(unzipped('instances_val2014_100.json'), unzipped('results_val2014_100.json'))
    assert done.returncode == 0, done.stderr
    figures = [line.rsplit('=', 1)[1].strip() for line in done.stdout.splitlines() if 'Average Precision' in line]
    assert figures == ['0.505', '0.697', '0.573', '0.586', '0.519', '0.501']


def test_masks_are_recognised(unzipped, tmp_path):
    annotations = load(unzipped('instances_val2017_2.json'))
    results = [dict(image_id=a['image_id'], category_id=a['category_id'], score=0.5, segmentation=a['segmentation'])
               for a in annotations['annotations'] if not a['iscrowd']]
    (tmp_path / 'masks.json').write_text(json.dumps(results))
    done = evaluate(unzipped('instances_val2017_2.json'), tmp_path / 'masks.json')
    assert f'segm: {len(results)} results' in done.stdout
    assert 'area=   all | maxDets=100 ] = 1.000' in done.stdout


@pytest.mark.parametrize('change, message', [
    (dict(image_id=-3), r'1 image_id that'), (dict(category_id=1000), r'1 category_id that'),
    (dict(score=None), "entry 0 of"),
])
def test_mistakes_are_named(unzipped, tmp_path, change, message):
    results = load(unzipped('results_val2014_100.json'))
    results[0].update(change)
    results[0] = {key: value for key, value in results[0].items() if value is not None}
    (tmp_path / 'results.json').write_text(json.dumps(results))
    done = evaluate(unzipped('instances_val2014_100.json'), tmp_path / 'results.json')
    assert done.returncode != 0 and message in done.stderr


def test_broken_results(unzipped, tmp_path):
    (tmp_path / 'results.json').write_text('[{"image_id": 1,')
    done = evaluate(unzipped('instances_val2014_100.json'), tmp_path / 'results.json')
    assert done.returncode != 0 and 'broken or cut short' in done.stderr
