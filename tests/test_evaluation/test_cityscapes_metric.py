"""The instance AP of Cityscapes, counted by hand."""
import cv2
import numpy as np
import pytest
import torch

from mmdet.errors import MissingFileError
from mmdet.evaluation import CityScapesMetric

pytest.importorskip('cityscapesscripts')
NAME = 'aachen_000000_000019'


@pytest.fixture
def metric(tmp_path):
    ids = np.zeros((64, 128), np.uint16)
    ids[:, :16], ids[:32, 32:64], ids[32:, 96:] = 24000, 26000, 26001  # a person, two cars
    folder = tmp_path / 'gtFine/val/aachen'
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / f'{NAME}_gtFine_instanceIds.png'), ids)
    metric = CityScapesMetric(str(tmp_path / 'out'), str(tmp_path / 'gtFine/val'))
    metric.dataset_meta = dict(classes=('person', 'car'))
    return metric


def sample(found, scores, name=NAME):
    """Predictions (label, rows, columns)."""
    masks = np.zeros((len(found), 64, 128), bool)
    for mask, (_, rows, columns) in zip(masks, found, strict=True):
        mask[rows, columns] = True
    return dict(img_path=f'/any/leftImg8bit/val/aachen/{name}_leftImg8bit.png', pred_instances=dict(
        masks=torch.from_numpy(masks), labels=torch.tensor([label for label, *_ in found]),
        scores=torch.tensor(scores)))


PERSON = (0, slice(0, 64), slice(0, 16))
CAR = (1, slice(0, 32), slice(32, 64))
HALF_CAR = (1, slice(32, 64), slice(96, 115))  # IoU 19 / 32 with the other car
WRONG = (1, slice(50, 60), slice(20, 90))


def test_ap(metric, tmp_path):
    metric.process({}, [sample([PERSON, PERSON, CAR, WRONG], [.9, .1, .9, .8])])  # an earlier evaluation
    metric.results.clear()
    metric.process({}, [sample([PERSON, CAR, HALF_CAR], [.9, .9, .8])] * 2)  # each picture counts once
    figures = metric.compute_metrics(metric.results)
    # Both classes are found at IoU 0.5 and 0.55; above, half of the cars. The scripts draw the curve of one find in
    # two by the trapezium rule, so its area is half.
    assert figures == pytest.approx({'mAP': (1 + .2 + .8 * .5) / 2, 'AP@50': 1})
    folder = tmp_path / 'out/results'
    lines = [line.split() for line in (folder / f'{NAME}_leftImg8bit_pred.txt').read_text().splitlines()]
    assert [(int(label), round(float(score), 3)) for _, label, score in lines] == [(24, .9), (26, .9), (26, .8)]
    assert {path.name for path in folder.glob('*.png')} == {name for name, *_ in lines}
    for (_, rows, columns), (name, *_) in zip((PERSON, CAR, HALF_CAR), lines, strict=True):
        mask = np.zeros((64, 128), bool)
        mask[rows, columns] = True
        assert ((cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) > 0) == mask).all()


def test_ground_truth_is_missing(metric):
    with pytest.raises(MissingFileError, match='bonn_1_2_gtFine_instanceIds.png.*seg_prefix'):
        metric.process({}, [sample([CAR], [.5], 'bonn_1_2')])
