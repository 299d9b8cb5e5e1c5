"""Functions on lists, one entry an image or a level, for modules written for mmdetection: its names and results."""
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.structures import DetDataSample


def multi_apply(func: Callable, *args: Sequence, **kwargs: Any) -> tuple[list, ...]:
    """`func` of the first entries, of the second, ...: a list of each of its results."""
    return tuple(map(list, zip(*map(partial(func, **kwargs), *args))))


def unmap(data: Tensor, count: int, inds: Tensor, fill: float = 0) -> Tensor:
    """`count` rows that are `data` where the bool `inds` (count,) is True, and `fill` elsewhere."""
    out = data.new_full((count, *data.shape[1:]), fill)
    out[inds.bool()] = data
    return out


def images_to_levels(target: Sequence[Tensor], num_levels: Sequence[int]) -> list[Tensor]:
    """B tensors (A, ...), levels joined -> for each level (B, num_levels[l], ...)."""
    return list(torch.stack(list(target)).split(list(num_levels), dim=1))


def unpack_gt_instances(samples: Sequence[DetDataSample]) -> tuple[list, list, list]:
    """gt_instances, ignored_instances (None where there are none) and metainfo of each sample."""
    return ([sample.gt_instances for sample in samples], [sample.get('ignored_instances') for sample in samples],
            [sample.metainfo for sample in samples])


def empty_instances(batch_img_metas: Sequence[dict], device: torch.device, task_type: str,
                    instance_results: Sequence[InstanceData] | None = None, mask_thr_binary: float = 0,
                    box_type: str = 'hbox', use_box_type: bool = False, num_classes: int = 80,
                    score_per_cls: bool = False) -> list[InstanceData]:
    """Results of images without any: `task_type` 'bbox' or 'mask', into `instance_results` if they are given."""
    results = []
    for i, meta in enumerate(batch_img_metas):
        result = InstanceData() if instance_results is None else instance_results[i]
        if task_type == 'bbox':
            result.bboxes = torch.zeros(0, 4, device=device)
            result.scores = torch.zeros((0, num_classes + 1) if score_per_cls else 0, device=device)
            result.labels = torch.zeros(0, dtype=torch.long, device=device)
        else:
            size = meta['ori_shape'][:2]
            result.masks = torch.zeros(0, *size, device=device, dtype=torch.bool if mask_thr_binary >= 0
                                       else torch.uint8)
        results.append(result)
    return results
