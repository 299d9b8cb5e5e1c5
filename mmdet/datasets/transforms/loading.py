"""Images and annotations into the pipeline."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import LoadImageFromFile as MMCV_LoadImageFromFile
from mmengine import fileio
from pycocotools import mask as mask_api

from mmdet.errors import MissingFileError, UserError
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks, MaskWindows, PolygonMasks

from ..image_file import decode_image, orientation


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCV_LoadImageFromFile):
    """mmcv's LoadImageFromFile, with an error that names what is wrong with an image.

    Adds img (H, W, 3) uint8 BGR, img_shape and ori_shape (H, W).

    Raises:
        FileNotFoundError: no file at results['img_path'].
        ValueError: no image, one that is cut short, or one whose size is not that of results['height'], ['width'].
    """

    def transform(self, results: dict) -> dict | None:
        path = results['img_path']
        try:
            data = self._read(path)
            image = decode_image(data, path, self.color_type, self.imdecode_backend)
        except (FileNotFoundError, ValueError):
            if self.ignore_empty:
                return None
            raise
        annotated = results.get('height') or image.shape[0], results.get('width') or image.shape[1]
        if image.shape[:2] != annotated:
            raise _other_size(path, image.shape[:2], annotated, orientation(data))
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        try:
            return fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise MissingFileError(f'image {path} does not exist. Check data_root and data_prefix=dict(img=...) of '
                                   'the data set, and file_name in its annotation file.') from None
        except IsADirectoryError:
            raise UserError(f'image {path} is a folder') from None
        except KeyError:  # of mmengine's table of backends
            raise UserError(f'image {path} cannot be read: {str(path).partition("://")[0]}:// is none of the addresses '
                            'that are known. Copy the pictures here, then correct file_name or data_prefix') from None
        except (OSError, ImportError) as error:  # no connection, no permission, a client is not installed
            raise UserError(f'image {path} cannot be read: {error}') from error


def _other_size(path: str, found: tuple[int, int], annotated: tuple[int, int], exif: int) -> UserError:
    (height, width), (annotated_height, annotated_width) = found, annotated
    message = (f'image {path} is {width} wide and {height} high, its annotation file says {annotated_width} and '
               f'{annotated_height}')
    if found != annotated[::-1] or exif < 5:
        return UserError(f'{message}: correct "width" and "height" there, or take the picture that was annotated')
    return UserError(f'{message}: its EXIF orientation ({exif}) turns it by 90 degrees. If the annotations are for the '
                     "picture as it is stored, give LoadImageFromFile color_type='color_ignore_orientation'; else swap "
                     '"width" and "height" there')


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
