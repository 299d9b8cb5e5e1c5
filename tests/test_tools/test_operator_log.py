"""The log of a step's operators: costs by hand, and a small model's step on a device that does not exist."""
import pytest
import torch
from mask_rcnn import SMALL
from mmengine.config import Config
from run_tool import ROOT

from mmdet import ops
from mmdet.apis.complexity import count_costs
from mmdet.apis.operator_log import Device, cost, record
from mmdet.ops import conv
from mmdet.registry import MODELS

pytestmark = pytest.mark.skipif(ops.backend() != 'mmdet' or not torch.backends.cuda.is_built(),
                                reason='needs the extension and a PyTorch for CUDA')
aten = torch.ops.aten
DEVICE = Device(bandwidth=1e3, speed=1e5)


def of(function, *args, **kwargs):
    return cost(function, args, kwargs, function(*args, **kwargs), DEVICE)


def test_costs_by_hand():
    x = torch.zeros(2, 8, 6, 5, dtype=torch.bfloat16)
    weight = torch.zeros(4, 8, 3, 3, dtype=torch.bfloat16)
    how = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    # 2 images of 6 x 5 positions, 4 channels out of 8 x 9 products; 2 bytes a number
    flop, of_x, of_weight, of_y = 2 * 2 * 30 * 4 * 72, 2 * 2 * 8 * 30, 2 * 4 * 72, 2 * 2 * 4 * 30
    forward = of(aten.convolution.default, x, weight, None, *how)
    assert forward[:4] == (1, of_x + of_weight, of_y, flop)
    assert forward.floor == max((of_x + of_weight + of_y) / 1e3, flop / 1e5)
    y = aten.convolution.default(x, weight, None, *how)
    backward = of(aten.convolution_backward.default, y, x, weight, None, *how, [True, True, False])
    assert backward[:4] == (2, 2 * of_y + of_x + of_weight, of_x + of_weight, 2 * flop)
    assert backward.floor == pytest.approx(2 * forward.floor)

    row = torch.zeros(1, 6)
    assert of(aten.expand.default, row, [5, 6]) is None and of(aten.empty_like.default, row) is None
    assert of(aten.add.Tensor, row.expand(5, 6), row)[:4] == (1, 48, 120, 0)
    assert of(aten.add_.Tensor, row, row)[:3] == (1, 48, 24) and of(aten.zero_.default, row)[:3] == (1, 0, 24)
    assert of(aten.gather.default, torch.zeros(100), 0, torch.zeros(3, dtype=torch.long))[:3] == (1, 12 + 24, 12)
    assert of(aten.mm.default, torch.zeros(3, 4), torch.zeros(4, 5)).flop == 2 * 3 * 4 * 5
    assert of(aten.add.out, row, row, out=torch.empty(1, 6))[:3] == (1, 48, 24)
    assert of(aten.new_zeros.default, torch.zeros(50), [6])[:3] == (1, 0, 24)
    norm = torch.zeros(8), torch.zeros(8), torch.zeros(8), torch.ones(8)
    trained, fixed = (of(aten.native_batch_norm.default, x.float(), *norm, training, 0.1, 1e-5).read
                      for training in (True, False))
    assert trained - fixed == 2 * of_x
    lists = [torch.zeros(65536 * 200)] * 2 + [torch.zeros(1)] * 50  # of one list, 320 blocks or 110 tensors a launch
    assert of(aten._foreach_neg.default, lists).launches == 2


def small(**options):
    cfg = Config.fromfile(ROOT / 'configs/mask_rcnn/mask_rcnn_r50_fpn_1x.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in {**SMALL, **options}.items()})
    return cfg


def test_step_of_a_small_model():
    log = record(small(), 2, (64, 96), 3, 'bfloat16', DEVICE)
    parts = {}
    for entry in log.entries:
        parts.setdefault(entry.part, []).append(entry.cost)
    detector = MODELS.build(small(**{'backbone.init_cfg': None}).model)
    expected = count_costs(detector, 64, 96)
    for part, name in (('backbone', 'backbone'), ('neck', 'neck'), ('RPN', 'rpn_head')):
        assert sum(of.flop for of in parts[part]) == 2 * expected.under(name).flops, part
    assert {'assigning, sampling', 'losses', 'RoI heads', 'optimizer', 'preparing the batch'} < parts.keys()
    assert {part for part in parts if part.endswith('backward')} >= {'backbone, backward', 'RoI heads, backward'}
    assert sum(entry.operator == 'mmdet.bias_relu_' for entry in log.entries) > 20 and log.kept > 2 * 64 * 96 * 16
    assert sum(int(row[1].replace(',', '')) for row in log.table('operator')) == len(log.entries)


def test_convolutions_that_end_with_relu(monkeypatch):
    logs = []
    for serves in (False, True):
        monkeypatch.setattr(conv, 'CONV_RELU', serves)
        logs.append([entry for entry in record(small(), 2, (64, 96), 3, 'bfloat16', DEVICE).entries
                     if entry.part == 'backbone'])
    apart, joined = ([sum(column) for column in zip(*(entry.cost for entry in entries))] for entries in logs)
    assert joined[3] == apart[3]  # FLOP; bias and ReLU stay apart in three shortcuts, which end without ReLU
    again = [entry.cost for entry in logs[0] if entry.operator == 'mmdet.bias_relu_']
    kept = [entry.cost for entry in logs[1] if entry.operator == 'mmdet.bias_relu_']
    assert len(kept) == 3 and sum(of.written for of in kept) < sum(of.written for of in again)
    written = sum(of.written for of in again) - sum(of.written for of in kept)
    casts = sum(entry.cost.written for entry in logs[1] if entry.operator == 'aten._to_copy') - \
        sum(entry.cost.written for entry in logs[0] if entry.operator == 'aten._to_copy')
    assert apart[2] - joined[2] == written - casts


def test_outside_a_graph_little_is_left():
    log = record(small(), 2, (64, 96), 3, 'bfloat16', DEVICE, cuda_graph=True)
    assert {'into and out of the graph', 'optimizer'} < {entry.part for entry in log.entries}
    assert not {'backbone', 'RPN, backward', 'assigning, sampling'} & {entry.part for entry in log.entries}
    assert len(log.entries) <= 50
