"""Objects of another image, pasted."""
from collections.abc import Iterable, Sized

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks, MaskWindows

from .instances import join_instances, keep_instances


@TRANSFORMS.register_module()
class CopyPaste(BaseTransform):
    """Paste objects of a second image, of the same size, into the first (arXiv 2012.07177, section 3).

    Stands in the pipeline of MultiImageMixDataset. What is pasted hides what lies below: masks lose these pixels, and
    the boxes of all masks are computed anew. Polygons become bitmaps.

    Args:
        max_num_pasted: fewer objects than this are pasted; their number and choice are drawn.
        bbox_occluded_thr: an object stays if no side of its box moves by more pixels than this,
        mask_occluded_thr: or if its mask keeps more pixels than this.
        selected: whether to draw; else all objects are pasted.
        paste_by_box: whether boxes stand in for masks that were not loaded.
    """

    def __init__(self, max_num_pasted: int = 100, bbox_occluded_thr: int = 10, mask_occluded_thr: int = 300,
                 selected: bool = True, paste_by_box: bool = False):
        self.max_num_pasted, self.selected, self.paste_by_box = max_num_pasted, selected, paste_by_box
        self.bbox_occluded_thr, self.mask_occluded_thr = bbox_occluded_thr, mask_occluded_thr

    def get_indexes(self, dataset: Sized) -> int:
        """The index of the second image."""
        return int(np.random.randint(len(dataset)))

    def transform(self, results: dict) -> dict:
        source, = results['mix_results']
        if source['img'].shape != results['img'].shape:
            raise UserError(f'CopyPaste meets images of shape {results["img"].shape} and {source["img"].shape}: give '
                            'them one size, with Pad(size=...) in the pipeline of the data set inside')
        for each in (results, source):
            each['gt_masks'] = self._bitmaps(each)
        if self.selected:
            count = len(source['gt_bboxes'])
            number = np.random.randint(min(count + 1, self.max_num_pasted))
            keep_instances(source, np.random.choice(count, size=number, replace=False))
        if not len(source['gt_bboxes']):
            return results
        pasted = np.zeros(results['img'].shape[:2], bool)
        for piece, (x1, y1, x2, y2) in _placed(source['gt_masks']):
            pasted[y1:y2, x1:x2] |= piece.astype(bool)
        self._hide(results, pasted)
        results['img'] = np.where(pasted[..., None], source['img'], results['img'])
        results.update(join_instances([results, source]))
        return results

    def _bitmaps(self, results: dict) -> BitmapMasks:
        if 'gt_masks' in results:
            return results['gt_masks'].to_bitmap()
        if not self.paste_by_box:
            raise UserError('CopyPaste needs masks: load them with LoadAnnotations(with_mask=True), or take boxes for '
                            'them with CopyPaste(paste_by_box=True)')
        height, width = results['img'].shape[:2]
        boxes = results['gt_bboxes'].astype(np.int64).clip(0, [width, height, width, height])
        pieces = [np.ones((y2 - y1, x2 - x1), np.uint8) for x1, y1, x2, y2 in boxes]
        return BitmapMasks(MaskWindows.pack(pieces, boxes[:, :2].tolist()), height, width)

    def _hide(self, results: dict, pasted: np.ndarray) -> None:
        """Take the pixels `pasted` (H, W) from the masks, and drop the objects of which too little is left."""
        masks = results['gt_masks']
        pieces = [piece * ~pasted[y1:y2, x1:x2] for piece, (x1, y1, x2, y2) in _placed(masks)]
        results['gt_masks'] = BitmapMasks(MaskWindows.pack(pieces, masks.windows.boxes[:, :2].tolist()),
                                          masks.height, masks.width)
        boxes = results['gt_masks'].get_bboxes()
        moved = np.abs(boxes - results['gt_bboxes']).max(axis=1, initial=0)
        results['gt_bboxes'] = boxes
        keep_instances(results, (moved <= self.bbox_occluded_thr)
                       | (results['gt_masks'].areas > self.mask_occluded_thr))


def _placed(masks: BitmapMasks) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    return zip(masks.windows.pieces(), masks.windows.boxes, strict=True)
