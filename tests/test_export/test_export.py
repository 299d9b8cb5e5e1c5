"""The parts of the export that need no runtime; tools/export.py --check compares whole files with their detector."""
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from torch.export import Dim

from mmdet import ops
from mmdet.apis import init_detector
from mmdet.errors import UserError
from mmdet.export import export_program
from mmdet.export.check import compare
from mmdet.export.detector import paste
from mmdet.models.layers import ConvModule

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


def test_paste():
    generator = torch.Generator().manual_seed(0)
    probs, corners = torch.rand(6, 7, 9, generator=generator), torch.rand(6, 2, generator=generator) * 40 - 10
    boxes = torch.cat([corners, corners + 1 + torch.rand(6, 2, generator=generator) * 50], dim=1)
    boxes[5] = 0  # a row that is padding
    assert torch.equal(paste(probs, boxes, 30, 50, 0.5).bool(), ops.paste_masks(probs, boxes, 30, 50, 0.5))


def test_every_norm_keeps_sizes_free():
    """Batch, height and width of the graph are symbols, whatever norm follows a convolution."""
    sizes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    for norm_cfg in (dict(type='BN'), dict(type='FrozenBN'), dict(type='SyncBN'), dict(type='GN', num_groups=4),
                     dict(type='CBN', buffer_num=2)):
        module = ConvModule(16, 16, 3, padding=1, norm_cfg=norm_cfg).eval()
        fill(module)
        with torch.no_grad():
            graph = torch.export.export(module, (torch.rand(2, 16, 40, 48),), dynamic_shapes=sizes).module()
            x = torch.rand(3, 16, 33, 70)
            torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-5)


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
    assert failed_part(caught.value, detector) == 'model.neck.lateral_convs.1 (ConvModule)'

    class OwnHead(type(detector.roi_head.bbox_head)):
        def predict(self, *args):
            return super().predict(*args)
    monkeypatch.setattr(detector.roi_head.bbox_head, '__class__', OwnHead)
    with pytest.raises(UserError, match='model.roi_head.bbox_head cannot be exported: OwnHead has predict of its own'):
        export_program(detector)
