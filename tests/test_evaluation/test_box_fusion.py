import numpy as np
import pytest

from mmdet.evaluation.box_fusion import fuse_boxes


@pytest.mark.parametrize(('kind', 'pair', 'first_alone', 'second_alone', 'twice_of_first'), [
    ('avg', 1.3 * 2 / 4, .4 / 4, 1.2 / 4, .4 * 2 / 4), ('max', 1.8 / 3, .4 / 3, 1.2 / 3, .4 / 3),
    ('box_and_model_avg', 2.6 / 4, .4 / 4, 1.2 / 3 * 3 / 4, .8 / 2 / 4),
    ('absent_model_aware_avg', 2.6 / 4, .4 / 4, 1.2 / 4, .8 / (2 + 3))])
def test_by_hand(kind, pair, first_alone, second_alone, twice_of_first):
    """Models of the weights 1 and 3. Label 1 lies on the pair and is no part of it."""
    rows = [((0, 0, 10, 10), .8, 0, 0), ((0, 0, 10, 12), .6, 0, 1), ((0, 0, 10, 10), .4, 1, 0),
            ((50, 50, 60, 60), .4, 0, 1), ((90, 90, 99, 99), .4, 0, 0), ((90, 90, 99, 99), .4, 0, 0),
            ((5, 5, 5, 9), .9, 0, 0), ((200, 0, 210, 9), .01, 0, 0)]  # without area; below score_thr
    columns = [np.array(column) for column in zip(*rows)]
    boxes, scores, labels = fuse_boxes(columns[0].astype(float), *columns[1:], [1, 3], score_thr=.1, kind=kind)
    found = {(round(float(box[0])), int(label)): score for box, label, score in zip(boxes, labels, scores)}
    assert found == pytest.approx({(0, 0): pair, (0, 1): first_alone, (50, 0): second_alone, (90, 0): twice_of_first})
    assert boxes[0].tolist() == pytest.approx([0, 0, 10, (.8 * 10 + 1.8 * 12) / 2.6])
    assert (np.diff(scores) <= 0).all()


def test_nothing():
    assert [len(part) for part in fuse_boxes(np.zeros((0, 4)), *np.zeros((3, 0), int), [1])] == [0, 0, 0]
