"""Operators with mmcv's arguments and results, which `from mmcv.ops import ...` gives where mmcv is mmcv-lite."""
from typing import Any

import torch
from torch import Tensor

from mmdet import ops


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0, score_threshold: float = 0,
        max_num: int = -1) -> tuple[Tensor, Tensor]:
    """Boxes and scores (K, 5) of those of (N, 4) that stay, best first, and their indices int64 (K,).

    score_threshold: boxes of lower scores go first. max_num: most boxes to keep; -1: all.
    """
    return batched_nms(boxes, scores, None, dict(iou_threshold=iou_threshold, offset=offset, max_num=max_num,
                                                 score_threshold=score_threshold))


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor | None, nms_cfg: dict | None,
                class_agnostic: bool = False) -> tuple[Tensor, Tensor]:
    """As `nms`, within each class of idxs (N,). nms_cfg: iou_threshold, and `nms`'s others; None: all stay."""
    cfg = dict(nms_cfg or dict(iou_threshold=2.))
    if cfg.get('type', 'nms') != 'nms':
        raise ValueError(f"batched_nms: nms_cfg.type={cfg['type']!r}: only 'nms' is defined here")
    inside = (scores > cfg.get('score_threshold', 0)).nonzero()[:, 0] if cfg.get('score_threshold', 0) > 0 else \
        torch.arange(len(scores), device=scores.device)
    groups = None if idxs is None or cfg.get('class_agnostic', class_agnostic) else idxs[inside]
    keep = inside[ops.batched_nms(boxes[inside], scores[inside], groups, cfg['iou_threshold'], cfg.get('offset', 0))]
    keep = keep[:cfg['max_num']] if cfg.get('max_num', -1) > 0 else keep
    return torch.cat([boxes[keep], scores[keep, None]], dim=1), keep


def roi_align(input: Tensor, rois: Tensor, output_size: Any, spatial_scale: float = 1., sampling_ratio: int = 0,
              pool_mode: str = 'avg', aligned: bool = True) -> Tensor:
    """mmdet.ops.roi_align; pool_mode: 'avg'."""
    if pool_mode != 'avg':
        raise ValueError(f"roi_align: pool_mode={pool_mode!r}: only 'avg' is defined here")
    return ops.roi_align(input, rois, output_size, spatial_scale, sampling_ratio, aligned)
