import gzip
from pathlib import Path

import pytest

from mmdet.evaluation import coco_evaluation

DATA = Path(__file__).parents[1] / 'data'


@pytest.fixture(scope='session')
def unzipped(tmp_path_factory):
    """Path of a file of tests/data, unzipped."""
    folder = tmp_path_factory.mktemp('data')

    def unzip(name):
        path = folder / name
        if not path.exists():
            path.write_bytes(gzip.decompress((DATA / f'{name}.gz').read_bytes()))
        return str(path)
    return unzip


@pytest.fixture(params=['installed', 'pycocotools'])
def evaluator(request, monkeypatch):
    """Once the evaluator that is found, once pycocotools."""
    if request.param == 'pycocotools':
        monkeypatch.setattr(coco_evaluation, 'EVALUATORS',
                            {'pycocotools': coco_evaluation.EVALUATORS['pycocotools']})
