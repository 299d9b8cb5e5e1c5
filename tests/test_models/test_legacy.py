"""Anchors, box coding and NMS of Detectron, torchvision and mmdetection 3.3's legacy classes."""
import numpy as np
import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator

from mmdet.models.roi_heads import SingleRoIExtractor
from mmdet.models.task_modules import LegacyAnchorGenerator, LegacyDeltaXYWHBBoxCoder, TorchvisionAnchorGenerator

CPU = torch.device('cpu')
FPN = dict(scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])
STDS = (0.1, 0.1, 0.2, 0.2)


def detectron_anchors(stride, sizes, ratios):
    """One location's anchors in loops: round the shape of each ratio at the stride, scale, keep the centre."""
    centre, anchors = (stride - 1) / 2, []
    for ratio in ratios:
        width = np.round(np.sqrt(stride * stride / ratio))
        height = np.round(width * ratio)
        for size in sizes:
            w, h = width * size / stride, height * size / stride
            anchors.append([centre - (w - 1) / 2, centre - (h - 1) / 2, centre + (w - 1) / 2, centre + (h - 1) / 2])
    return torch.tensor(np.array(anchors), dtype=torch.float32)


def test_detectron_anchors_of_the_finest_level():
    generator = LegacyAnchorGenerator(**FPN, center_offset=0.5, detectron=True)
    first = [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]]  # Detectron's for stride 4, size 32
    assert generator.base_anchors[0].tolist() == first
    moved = generator([(2, 2), (1, 1), (1, 1), (1, 1), (1, 1)], CPU)[9:12]  # second row, second column
    assert moved.tolist() == [[number + 4 for number in anchor] for anchor in first]


def test_py_faster_rcnn_anchors():
    """The nine anchors in the comment of py-faster-rcnn's generate_anchors.py, less the 1 of MATLAB's indices."""
    generator = LegacyAnchorGenerator([16], [0.5, 1, 2], [8, 16, 32], center_offset=0.5, detectron=True)
    assert (generator.base_anchors[0] + 1).tolist() == [
        [-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200], [-55, -55, 72, 72], [-119, -119, 136, 136],
        [-247, -247, 264, 264], [-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360]]


@pytest.mark.parametrize('scales', [[8], [4, 8, 16]])
def test_detectron_anchors_of_every_level(scales):
    generator = LegacyAnchorGenerator(**{**FPN, 'scales': scales}, center_offset=0.5, detectron=True)
    for stride, anchors in zip(FPN['strides'], generator.base_anchors):
        expected = detectron_anchors(stride, [scale * stride for scale in scales], FPN['ratios'])
        torch.testing.assert_close(anchors, expected, rtol=0, atol=0)


def test_legacy_anchors_of_mmdetection():
    """mmdetection rounds the corners: ratio 0.5 at stride 4 is 45.25 x 22.63 about 1.5, less 1 a side."""
    by_hand = LegacyAnchorGenerator([4], [0.5, 1.0], [8], center_offset=0.5).base_anchors[0]
    assert by_hand.tolist() == [[-21, -9, 24, 12], [-14, -14, 17, 17]]
    example = LegacyAnchorGenerator([16], [1.], [1.], [9], center_offset=0.5)  # its docstring's
    assert example([(2, 2)], CPU).tolist() == [[0, 0, 8, 8], [16, 0, 24, 8], [0, 16, 8, 24], [16, 16, 24, 24]]


@pytest.mark.parametrize('height, width', [(800, 1344), (608, 800), (64, 96)])
def test_torchvision_anchors(height, width):
    sizes = [(-(-height // stride), -(-width // stride)) for stride in FPN['strides']]
    features = [torch.zeros(1, 1, *size) for size in sizes]
    oracle = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    expected = oracle(ImageList(torch.zeros(1, 3, height, width), [(height, width)]), features)[0]
    anchors = TorchvisionAnchorGenerator(**FPN)(sizes, CPU)
    torch.testing.assert_close(anchors, expected, rtol=0, atol=0)


def random_boxes(num):
    corners = torch.rand(num, 2, generator=torch.Generator().manual_seed(0)) * 80
    return torch.cat([corners, corners + torch.rand(num, 2, generator=torch.Generator().manual_seed(1)) * 60], dim=1)


@pytest.mark.parametrize('detectron', [True, False])
def test_coder_by_hand(detectron):
    coder = LegacyDeltaXYWHBBoxCoder(target_stds=STDS, detectron=detectron)
    # 20 x 40 pixels and 40 x 40 pixels, corners inside; the centre moves by 14 of 20 and by 0
    box, gt = torch.tensor([[10., 10., 29., 49.]]), torch.tensor([[14., 10., 53., 49.]])
    deltas = coder.encode(box, gt)
    torch.testing.assert_close(deltas, torch.tensor([[0.7 / 0.1, 0., 0.6931472 / 0.2, 0.]]))
    grown = 0. if detectron else 0.5
    expected = torch.tensor([[14 - grown, 10 - grown, 53 + grown, 49 + grown]])
    torch.testing.assert_close(coder.decode(box, deltas), expected)
    clipped = coder.decode(box, deltas, torch.tensor([[40., 50.]]))
    torch.testing.assert_close(clipped, torch.tensor([[14 - grown, 10 - grown, 49., 39.]]))


def test_decode_undoes_encode():
    coder, boxes = LegacyDeltaXYWHBBoxCoder(target_stds=STDS, detectron=True), random_boxes(200)
    torch.testing.assert_close(coder.decode(boxes, coder.encode(boxes, boxes.flip(0))), boxes.flip(0))


def test_decode_equals_detectron_in_loops():
    coder, boxes = LegacyDeltaXYWHBBoxCoder(target_stds=STDS, detectron=True), random_boxes(50).double()
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(2)) * 8
    for box, delta, decoded in zip(boxes.tolist(), deltas.tolist(), coder.decode(boxes, deltas)):
        expected = [0.] * 4
        for axis in (0, 1):
            width = box[2 + axis] - box[axis] + 1
            centre = box[axis] + 0.5 * width + delta[axis] * 0.1 * width
            size = np.exp(min(delta[2 + axis] * 0.2, np.log(1000 / 16))) * width
            expected[axis], expected[2 + axis] = centre - 0.5 * size, centre + 0.5 * size - 1
        torch.testing.assert_close(decoded, torch.tensor(expected, dtype=decoded.dtype), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('detectron', [True, False])
def test_padding_gives_finite_numbers(detectron):
    coder = LegacyDeltaXYWHBBoxCoder(target_stds=STDS, detectron=detectron)
    zeros = torch.zeros(2, 3, 4)
    assert coder.encode(zeros, zeros).isfinite().all()
    assert coder.decode(zeros, zeros, torch.full((2, 1, 2), 10.)).isfinite().all()


def test_levels_of_rois_as_detectron_chooses_them():
    """Sides of 111 and 112 pixels, corners inside; and one of less than a pixel, whose corners are turned round."""
    rois = torch.tensor([[0., 0., 0., 110., 110.], [0., 0., 0., 111., 111.], [0., 5., 5., 4.5, 20.]])
    features = [torch.full((1, 1, 40, 40), float(level)) for level in range(4)]
    for offset, expected in ((1, [0, 1, 0]), (0, [0, 0, 0])):
        extractor = SingleRoIExtractor(dict(type='RoIAlign', output_size=1, sampling_ratio=2, aligned=False), 1,
                                       [4, 8, 16, 32], offset=offset)
        assert extractor(features, rois).flatten().tolist() == expected
