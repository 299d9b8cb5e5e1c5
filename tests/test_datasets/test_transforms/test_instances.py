import numpy as np
import pytest
from each import each

from mmdet.datasets.transforms import FilterAnnotations
from mmdet.structures.mask import BitmapMasks


def results():
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[0, :2, :2] = masks[2, 5:15, 5:15] = 1
    return dict(gt_bboxes=np.array([[0, 0, 2, 2], [3, 3, 9, 4], [5, 5, 15, 15]], np.float32),
                gt_bboxes_labels=np.arange(3), gt_ignore_flags=np.zeros(3, bool), gt_masks=BitmapMasks(masks, 20, 20))


@each('kwargs, kept', [
    (dict(), [0, 2]), (dict(min_gt_bbox_wh=(0.01, 0.01)), [0, 1, 2]), (dict(min_gt_bbox_wh=(2, 2)), [2]),
    (dict(by_mask=True, by_box=False), [0, 2]), (dict(by_mask=True, min_gt_mask_area=5), [2]),
    (dict(min_gt_bbox_wh=(99, 99), keep_empty=False), []),
])
def test_kept(kwargs, kept):
    filtered = FilterAnnotations(**kwargs)(results())
    assert filtered['gt_bboxes_labels'].tolist() == kept
    assert len(filtered['gt_bboxes']) == len(filtered['gt_masks']) == len(filtered['gt_ignore_flags']) == len(kept)


def test_an_image_that_loses_all_is_skipped_and_an_empty_one_is_not():
    assert FilterAnnotations(min_gt_bbox_wh=(99, 99))(results()) is None
    empty = dict(gt_bboxes=np.zeros((0, 4), np.float32))
    assert FilterAnnotations()(empty) is empty


def test_no_condition():
    with pytest.raises(ValueError, match='by_box=True or by_mask=True'):
        FilterAnnotations(by_box=False)
