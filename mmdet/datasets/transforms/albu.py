"""Transforms of the library albumentations."""
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks

from .instances import keep_instances


@TRANSFORMS.register_module()
class Albu(BaseTransform):
    """Apply albumentations to img, gt_bboxes and gt_masks; polygons become bitmaps.

    Instances whose boxes it drops are dropped in every field. What it draws follows NumPy's generator.

    Args:
        transforms: configs; `type` is the name of a class of albumentations, whose other keys it takes.
        bbox_params: dict(type='BboxParams', format='pascal_voc', ...) with thresholds such as min_visibility.
        keymap: accepted for mmdetection's configs; the keys are those of mmdetection and of albumentations.
        skip_img_without_anno: whether an image that lost all its instances gives None, and the data set takes another.

    Raises:
        ValueError: albumentations is not installed, or has no such transform.
    """

    def __init__(self, transforms: Sequence[dict], bbox_params: dict | None = None, keymap: dict | None = None,
                 skip_img_without_anno: bool = False):
        os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # or it asks the network for a newer version
        try:
            import albumentations
        except ImportError as error:
            raise UserError(f"the transform Albu needs albumentations ({error}): pip install 'mmdet-norms[albu]'"
                            ) from None
        params = dict(bbox_params or {})
        if params.get('format', 'pascal_voc') != 'pascal_voc':
            raise UserError(f"bbox_params.format of Albu is {params['format']!r}; boxes here are 'pascal_voc'")
        for key in ('type', 'label_fields', 'filter_lost_elements'):
            params.pop(key, None)
        params['format'] = 'pascal_voc'
        self.augment = albumentations.Compose(
            [_build(albumentations, step) for step in transforms],
            bbox_params=albumentations.BboxParams(**params, label_fields=['positions']))
        self.skip_img_without_anno = skip_img_without_anno

    def transform(self, results: dict) -> dict | None:
        height, width = results['img'].shape[:2]
        given = dict(image=results['img'], bboxes=[], positions=[])
        if 'gt_bboxes' in results:
            results['gt_bboxes'] = results['gt_bboxes'].clip(0, np.array([width, height] * 2, np.float32))
            keep_instances(results, (results['gt_bboxes'][:, 2:] > results['gt_bboxes'][:, :2]).all(axis=1))
            given.update(bboxes=results['gt_bboxes'], positions=np.arange(len(results['gt_bboxes'])))
        if len(results.get('gt_masks', ())):
            given['masks'] = results['gt_masks'].to_ndarray()
        if hasattr(self.augment, 'set_random_seed'):  # since 2.0 it has generators of its own
            self.augment.set_random_seed(int(np.random.randint(2 ** 31)))
        augmented = self.augment(**given)
        results['img'] = augmented['image']
        results['img_shape'] = results['img'].shape[:2]
        if 'gt_bboxes' not in results:
            return results
        kept = np.array(augmented['positions'], np.int64)
        if self.skip_img_without_anno and not len(kept):
            return None
        if 'gt_masks' in results:
            results['gt_masks'] = BitmapMasks(list(augmented.get('masks', ())), *results['img_shape'])
        keep_instances(results, kept)
        results['gt_bboxes'] = np.array(augmented['bboxes'], np.float32).reshape(-1, 4)[:, :4]
        return results


def _build(library: Any, step: dict) -> Any:
    args = {key: [_build(library, part) for part in value] if key == 'transforms' else value
            for key, value in step.items() if key != 'type'}
    kind = step['type']
    if kind == 'JpegCompression' and not hasattr(library, kind):  # its name until albumentations 1.4
        kind = 'ImageCompression'
        args['quality_range'] = (args.pop('quality_lower', 99), args.pop('quality_upper', 100))
    if not hasattr(library, kind):
        raise UserError(f'albumentations {library.__version__} has no transform {kind!r} (Albu)')
    return getattr(library, kind)(**args)
