"""A detector as a file: what a runtime finds is what the detector finds."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill

from mmdet import ops
from mmdet.apis import init_detector
from mmdet.errors import UserError
from mmdet.export import describe, export_program, write_onnx
from mmdet.export.check import compare, run_detector, runtimes
from mmdet.export.detector import paste

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo.py'
TWO_LEVELS = {'model.backbone.num_stages': 2, 'model.backbone.out_indices': (0, 1), 'model.backbone.base_channels': 16,
              'model.neck.in_channels': [16, 32], 'model.neck.num_outs': 2,
              'model.rpn_head.anchor_generator.strides': [4, 8],
              'model.roi_head.bbox_roi_extractor.featmap_strides': [4, 8],
              'model.roi_head.mask_roi_extractor.featmap_strides': [4, 8],
              'model.roi_head.bbox_head.num_shared_convs': 1, 'model.roi_head.mask_head.num_convs': 1,
              'model.test_cfg.rpn.max_per_img': 50, 'model.test_cfg.rcnn.max_per_img': 20}


@pytest.fixture(scope='module')
def detector():
    detector = init_detector(DEMO, device='cpu', cfg_options=TWO_LEVELS)
    fill(detector)
    return detector


def test_onnxruntime_finds_the_same(detector, tmp_path):
    pytest.importorskip('onnxruntime', reason='pip install "mmdet-norms[export]"')
    onnx = pytest.importorskip('onnx')
    program = export_program(detector)
    write_onnx(program, tmp_path / 'model.onnx', describe(detector))
    write_onnx(program, tmp_path / 'half.onnx', {}, 'float16')
    write_onnx(program, tmp_path / 'int8.onnx', {}, 'int8')
    file = onnx.load(tmp_path / 'model.onnx')
    assert {node.domain for node in file.graph.node} == {''}  # standard operators
    assert 'Loop' not in {node.op_type for node in file.graph.node}
    meta = {entry.key: entry.value for entry in file.metadata_props}
    assert len(json.loads(meta['classes'])) == 5 and '256' in meta['resize']
    rng = np.random.default_rng(0)
    for shape in ((1, 90, 131, 3), (3, 128, 96, 3)):  # neither is the size it was traced with
        images = rng.integers(0, 256, shape, np.uint8)
        expected = run_detector(detector)(images)
        for name, boxes, scores in (('model', 0.1, 1e-3), ('half', 2, 0.02), ('int8', 20, 0.3)):
            for run in runtimes(tmp_path / f'{name}.onnx').values():
                found = compare(expected, run(images))
                assert found.detections > 5
                if name == 'model':
                    assert found.missing == 0
                if name != 'int8':
                    assert found.boxes < boxes and found.scores < scores and found.masks < 0.005
    sizes = [(tmp_path / f'{name}.onnx').stat().st_size for name in ('model', 'half', 'int8')]
    assert sizes[0] > 1.5 * sizes[1] > 1.5 * sizes[2]


def test_paste():
    generator = torch.Generator().manual_seed(0)
    probs, corners = torch.rand(6, 7, 9, generator=generator), torch.rand(6, 2, generator=generator) * 40 - 10
    boxes = torch.cat([corners, corners + 1 + torch.rand(6, 2, generator=generator) * 50], dim=1)
    boxes[5] = 0  # a row that is padding
    assert torch.equal(paste(probs, boxes, 30, 50, 0.5).bool(), ops.paste_masks(probs, boxes, 30, 50, 0.5))


def test_compare_pairs_by_box():
    boxes = np.float32([[[0, 0, 9, 9], [20, 20, 40, 40], [0, 0, 0, 0]]])
    outs = [boxes, np.int64([[1, 1, -1]]), np.float32([[.9, .8, 0]])]
    swapped = [out[:, [1, 0]] for out in outs]
    swapped[0] = swapped[0] + np.float32(0.25)
    assert compare(outs, swapped)[:4] == (2, 0, 0.25, 0)
    assert compare(outs, [out[:, :1] for out in outs]).missing == 1


def test_the_part_that_fails_is_named(detector, monkeypatch):
    def whole_numbers(x):
        raise RuntimeError('no graph of this')
    monkeypatch.setattr(detector.neck.lateral_convs[1], 'forward', whole_numbers)
    from mmdet.export.program import failed_part
    with pytest.raises(RuntimeError) as caught:
        detector.extract_feat(torch.zeros(1, 3, 64, 64))
    assert failed_part(caught.value, detector) == 'model.neck (FPN)'

    class OwnHead(type(detector.roi_head.bbox_head)):
        def predict(self, *args):
            return super().predict(*args)
    monkeypatch.setattr(detector.roi_head.bbox_head, '__class__', OwnHead)
    with pytest.raises(UserError, match='model.roi_head.bbox_head cannot be exported: OwnHead has a predict'):
        export_program(detector)
