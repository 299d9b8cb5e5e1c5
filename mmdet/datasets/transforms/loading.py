"""Images and annotations into the pipeline."""
import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import LoadImageFromFile as MMCV_LoadImageFromFile
from mmengine import fileio
from pycocotools import mask as mask_api

from mmdet.errors import MissingFileError, UserError
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks, MaskWindows, PolygonMasks


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCV_LoadImageFromFile):
    """mmcv's LoadImageFromFile, with an error that names what is wrong with an image.

    Adds img (H, W, 3) uint8 BGR, img_shape and ori_shape (H, W).

    Raises:
        FileNotFoundError: no file at results['img_path'].
        ValueError: no image, or one that is cut short (cv2 would fill the rest with grey).
    """

    def transform(self, results: dict) -> dict | None:
        path = results['img_path']
        try:
            image = self._read(path)
        except (FileNotFoundError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise MissingFileError(f'image {path} does not exist. Check data_root and data_prefix=dict(img=...) of '
                                    'the data set, and file_name in its annotation file.') from None
        if _cut_short(data):
            raise UserError(f'image {path} is cut short: its {len(data)} bytes have no end marker. '
                             'Copy or download it again.')
        try:
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)
        except (cv2.error, OSError):
            image = None
        if image is None:
            raise UserError(f'image {path} ({len(data)} bytes) is no image that {self.imdecode_backend} can read: '
                             'replace it')
        return image


def _cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end. Bytes after the end are allowed."""
    for start, last_part, end in ((b'\xff\xd8', b'\xff\xda', b'\xff\xd9'), (b'\x89PNG', b'IDAT', b'IEND')):
        if data.startswith(start):
            return not data.endswith(end) and data.rfind(end) <= data.rfind(last_part)
    return False


@TRANSFORMS.register_module()
class LoadImageFromNDArray(BaseTransform):
    """Take results['img'], a (H, W, 3) BGR array, as if it came from a file."""

    def transform(self, results: dict) -> dict:
        results.setdefault('img_path', None)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Read results['instances'], in pixels of the original image (ori_shape).

    Adds gt_bboxes (N, 4) float32 xyxy, gt_bboxes_labels (N,) int64, gt_ignore_flags (N,) bool and gt_masks.

    Args:
        with_bbox, with_label, with_mask: what to read.
        poly2mask: make BitmapMasks; otherwise PolygonMasks, where instances annotated as RLE are flagged as ignored.
        box_type: accepted for mmdetection's configs; boxes are arrays.
    """

    def __init__(self, with_bbox: bool = True, with_label: bool = True, with_mask: bool = False,
                 poly2mask: bool = True, box_type: str | None = None):
        self.with_bbox, self.with_label = with_bbox, with_label
        self.with_mask, self.poly2mask = with_mask, poly2mask

    def transform(self, results: dict) -> dict:
        instances = results.get('instances', [])
        if self.with_bbox:
            boxes = [instance['bbox'] for instance in instances]
            results['gt_bboxes'] = np.array(boxes, np.float32).reshape(-1, 4)
        if self.with_label:
            results['gt_bboxes_labels'] = np.array([instance['bbox_label'] for instance in instances], np.int64)
        results['gt_ignore_flags'] = np.array([instance['ignore_flag'] for instance in instances], bool)
        if self.with_mask:
            self._load_masks(instances, results)
        return results

    def _load_masks(self, instances: list[dict], results: dict) -> None:
        height, width = results['ori_shape']
        segmentations = [_segmentation(instance, results) for instance in instances]
        usable = [bool(s) and (self.poly2mask or isinstance(s, list)) for s in segmentations]
        results['gt_ignore_flags'] |= ~np.array(usable, bool)
        # An instance without a usable mask keeps its row, with a polygon of no area.
        segmentations = [s if ok else [np.zeros(6)] for s, ok in zip(segmentations, usable, strict=True)]
        if self.poly2mask:
            results['gt_masks'] = BitmapMasks(MaskWindows.draw(segmentations, height, width), height, width)
        else:
            results['gt_masks'] = PolygonMasks([s for s in segmentations if isinstance(s, list)], height, width)


def _segmentation(instance: dict, results: dict) -> list[np.ndarray] | dict:
    """Polygons as a list of arrays, or a compressed RLE; an empty list where no polygon has three points."""
    segmentation = instance.get('mask')
    if segmentation is None:
        raise UserError(f'the instance at {instance["bbox"]} of image {results.get("img_path")} has no segmentation: '
                         'add it to the annotation file, or train boxes only with LoadAnnotations(with_mask=False)')
    if isinstance(segmentation, list):
        return [np.array(polygon) for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
    if list(segmentation['size']) != list(results['ori_shape']):
        raise UserError(f'image {results.get("img_path")} is {results["ori_shape"]} (height, width), its RLE mask at '
                         f'{instance["bbox"]} is {segmentation["size"]}: correct the annotation file or the image')
    if isinstance(segmentation['counts'], list):
        return mask_api.frPyObjects(segmentation, *segmentation['size'])
    return segmentation
