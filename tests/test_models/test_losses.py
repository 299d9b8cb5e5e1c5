import math

import pytest
import torch

from mmdet.models.losses import CrossEntropyLoss, L1Loss, SmoothL1Loss, accuracy


def test_softmax_by_hand():
    pred = torch.tensor([[0., 0.], [math.log(3.), 0.], [5., 5.]])
    loss = CrossEntropyLoss(loss_weight=2.)(pred, torch.tensor([0, 1, 0]), torch.tensor([1., 1., 0.]), 2)
    assert float(loss) == pytest.approx(2 * (math.log(2) + math.log(4)) / 2)


def test_class_weight():
    loss = CrossEntropyLoss(class_weight=[1., 3.])(torch.zeros(2, 2), torch.tensor([0, 1]), None, 1)
    assert float(loss) == pytest.approx(4 * math.log(2))


def test_sigmoid_background_is_negative_everywhere():
    pred = torch.tensor([[math.log(3.)], [math.log(3.)]])
    loss = CrossEntropyLoss(use_sigmoid=True)(pred, torch.tensor([0, 1]), None, 1)
    assert float(loss) == pytest.approx(math.log(4 / 3) + math.log(4))


def test_mask():
    pred, target = torch.zeros(2, 3, 3), torch.ones(2, 3, 3, dtype=torch.bool)
    loss = CrossEntropyLoss(use_mask=True)(pred, target, torch.tensor([1., 0.]), 9)
    assert float(loss) == pytest.approx(math.log(2))


def test_boxes_by_hand():
    pred, target = torch.tensor([[0., 1., 3., 0.], [9., 9., 9., 9.]]), torch.zeros(2, 4)
    weight = torch.tensor([[1.], [0.]])
    assert float(L1Loss()(pred, target, weight, 4)) == pytest.approx(1.)
    # |d| = 1 and 3 with beta 2: 0.5 / 2 and 3 - 1
    assert float(SmoothL1Loss(beta=2.)(pred, target, weight, 1)) == pytest.approx(2.25)


def test_beta_zero_names_the_other_loss():
    with pytest.raises(ValueError, match='L1Loss'):
        SmoothL1Loss(beta=0)


@pytest.mark.parametrize('loss', [CrossEntropyLoss(), CrossEntropyLoss(use_sigmoid=True)])
def test_half_precision_is_summed_in_float32(loss):
    value = loss(torch.zeros(70000, 2, dtype=torch.float16), torch.zeros(70000, dtype=torch.long), None, 1.)
    assert value.dtype == torch.float32 and value.isfinite()


def test_no_rows():
    assert float(L1Loss()(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0, 1), 1)) == 0


def test_accuracy():
    scores = torch.tensor([[2., 1.], [2., 1.], [1., 2.], [1., 2.]])
    assert float(accuracy(scores, torch.tensor([0, 1, 1, 0]), torch.tensor([1., 1., 1., 0.]))) == pytest.approx(200 / 3)
