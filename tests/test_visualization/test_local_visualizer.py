import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PastedMasks, PolygonMasks
from mmdet.visualization import DetLocalVisualizer
from mmdet.visualization.local_visualizer import mask_pieces

SQUARE = np.zeros((40, 60), np.uint8)
SQUARE[10:30, 20:50] = 1


def sample(scores=(0.9, 0.1), masks=None):
    boxes, labels = torch.tensor([[20., 10., 50., 30.], [2., 2., 10., 10.]]), torch.tensor([0, 1])
    made = DetDataSample()
    made.gt_instances = InstanceData(bboxes=boxes[:1], labels=labels[:1])
    made.pred_instances = InstanceData(bboxes=boxes, labels=labels, scores=torch.tensor(scores))
    if masks is not None:
        made.pred_instances.masks = masks
    return made


@pytest.mark.parametrize('masks', [torch.tensor(SQUARE[None]).bool(), BitmapMasks(SQUARE[None], 40, 60),
                                   PastedMasks(torch.ones(1, 28, 28), torch.tensor([[20., 10, 50, 30]]), 40, 60, 0.5),
                                   PolygonMasks([[np.array([20., 10, 50, 10, 50, 30, 20, 30])]], 40, 60)], ids=type)
def test_pieces_of_every_kind_of_mask(masks):
    (piece, x, y), = mask_pieces(masks)
    assert (x, y) == (20, 10) and piece.dtype == bool and piece.shape == (20, 30) and piece.all()


def test_empty_masks():
    (piece, x, y), = mask_pieces(torch.zeros(1, 40, 60, dtype=torch.bool))
    assert piece.size == 0 and (x, y) == (0, 0)
    assert mask_pieces(torch.zeros(0, 40, 60, dtype=torch.bool)) == []


def test_truth_left_predictions_right(tmp_path):
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('cat', 'dog'), palette=[(255, 0, 0), (0, 255, 0)])
    image = np.full((40, 60, 3), 90, np.uint8)
    masks = torch.tensor(np.stack([SQUARE, np.roll(SQUARE, -8, 0)])).bool()
    visualizer.add_datasample('a', image, sample(masks=masks), out_file=str(tmp_path / 'a.png'))
    drawn = visualizer.get_image()
    assert drawn.shape == (40, 120, 3) and (image == 90).all()
    left, right = drawn[:, :60], drawn[:, 60:]
    assert left[20, 20].tolist() == [255, 0, 0] and left[25, 40].tolist() == [90, 90, 90]  # box, no mask
    assert right[25, 40].tolist() != [90, 90, 90]  # mask
    assert not ((right == (0, 255, 0)).all(axis=2)).any(), 'a detection below the threshold is drawn'
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'a.png'))[..., ::-1], drawn)


def test_only_what_is_asked_for_and_there():
    visualizer = DetLocalVisualizer()
    image = np.full((40, 60, 3), 90, np.uint8)
    for kwargs, width in ((dict(draw_gt=False), 60), (dict(draw_pred=False), 60), (dict(), 120)):
        visualizer.add_datasample('a', image, sample(), **kwargs)
        assert visualizer.get_image().shape[1] == width
    visualizer.add_datasample('a', image)
    np.testing.assert_array_equal(visualizer.get_image(), image)
    visualizer.add_datasample('a', image, sample(scores=(0.1, 0.1)), draw_gt=False)
    np.testing.assert_array_equal(visualizer.get_image(), image)


def test_fixed_colors_and_unknown_classes():
    visualizer = DetLocalVisualizer(bbox_color='blue', line_width=1)
    visualizer.add_datasample('a', np.full((40, 60, 3), 90, np.uint8), sample(), draw_gt=False)
    assert visualizer.get_image()[20, 20].tolist() == [0, 0, 255]


def test_config_builds_it_and_mmengines_drawing_still_works(tmp_path):
    visualizer = VISUALIZERS.build(dict(type='DetLocalVisualizer', name='built', save_dir=str(tmp_path),
                                        vis_backends=[dict(type='LocalVisBackend')]))
    visualizer.add_datasample('a', np.zeros((40, 60, 3), np.uint8), sample(), step=3)
    assert list(tmp_path.rglob('a_3.png'))
    visualizer.set_image(np.zeros((40, 60, 3), np.uint8))
    visualizer.draw_bboxes(torch.tensor([5., 5., 20., 20.]))
    assert visualizer.get_image().shape == (40, 60, 3) and visualizer.get_image().any()
