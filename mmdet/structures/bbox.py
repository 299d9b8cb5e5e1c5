"""mmdetection's functions on boxes, (..., 4) tensors of x1 y1 x2 y2 in pixels."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.ops import box_area, box_iou

__path__: list[str] = []  # mmdetection's is a package, whose modules mmdet/import_paths.py finds


def get_box_tensor(boxes: Tensor) -> Tensor:
    """The tensor (..., 4) of boxes; a tensor is its own, an object of boxes has it as `tensor`."""
    return getattr(boxes, 'tensor', boxes)


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False,
                  eps: float = 1e-6) -> Tensor:
    """Overlaps (..., N, M) of every pair of boxes, or, `is_aligned`, (..., N) of the first with the first, and so on.

    mode: 'iou', 'iof' (over the area of bboxes1) or 'giou' (arXiv 1902.09630).
    """
    if mode not in ('iou', 'iof', 'giou'):
        raise ValueError(f"mode must be 'iou', 'iof' or 'giou', not {mode!r}")
    if mode != 'giou' and not is_aligned:
        return box_iou(bboxes1, bboxes2, mode, eps)
    if not is_aligned:
        bboxes1, bboxes2 = bboxes1[..., :, None, :], bboxes2[..., None, :, :]
    low, high = torch.maximum(bboxes1[..., :2], bboxes2[..., :2]), torch.minimum(bboxes1[..., 2:], bboxes2[..., 2:])
    intersection = box_area(torch.cat([low, high], dim=-1))
    union = box_area(bboxes1) if mode == 'iof' else box_area(bboxes1) + box_area(bboxes2) - intersection
    overlap = intersection / union.clamp(min=eps)
    if mode != 'giou':
        return overlap
    low, high = torch.minimum(bboxes1[..., :2], bboxes2[..., :2]), torch.maximum(bboxes1[..., 2:], bboxes2[..., 2:])
    around = box_area(torch.cat([low, high], dim=-1)).clamp(min=eps)
    return overlap - (around - union) / around


def bbox2roi(bbox_list: Sequence[Tensor]) -> Tensor:
    """Boxes (n, 4) of each image -> rois (R, 5), the index of the image first."""
    return torch.cat([torch.nn.functional.pad(get_box_tensor(boxes), (1, 0), value=i)
                      for i, boxes in enumerate(bbox_list)])


def roi2bbox(rois: Tensor) -> list[Tensor]:
    """Rois (R, 5) -> boxes (n, 4) of each image that has any."""
    return [rois[rois[:, 0] == i, 1:] for i in rois[:, 0].unique()]


def bbox_xyxy_to_cxcywh(bbox: Tensor) -> Tensor:
    """Corners (..., 4) -> center x, y, width, height (..., 4)."""
    low, high = bbox.split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def bbox_cxcywh_to_xyxy(bbox: Tensor) -> Tensor:
    """Center x, y, width, height (..., 4) -> corners (..., 4)."""
    center, size = bbox.split(2, dim=-1)
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def scale_boxes(boxes: Tensor, scale_factor: tuple[float, float]) -> Tensor:
    """Boxes (..., 4) times the factors of width and height."""
    return boxes * boxes.new_tensor(scale_factor).repeat(2)


def cat_boxes(data_list: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Boxes of all entries, one after the other."""
    return torch.cat(list(data_list), dim=dim)
