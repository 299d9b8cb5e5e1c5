"""Second stage of Cascade R-CNN (arXiv 1712.00726): heads of rising IoU thresholds, each on the boxes of the last."""
from collections.abc import Sequence
from typing import Any

from mmengine.model import ModuleList

from mmdet.errors import UserError
from mmdet.registry import MODELS

from .standard_roi_head import BaseRoIHead, StandardRoIHead


@MODELS.register_module()
class CascadeRoIHead(BaseRoIHead):
    """StandardRoIHeads in a row; their losses are named s0.loss_cls, s1.loss_cls and so on.

    In testing the class logits of all stages are averaged, and so are their mask probabilities.

    Args:
        num_stages: number of stages.
        stage_loss_weights: factor of each stage's losses.
        bbox_roi_extractor, bbox_head, mask_roi_extractor, mask_head: config for all stages, or a list of one a stage.
        train_cfg: list of assigner and sampler, one a stage. test_cfg: score_thr, nms, max_per_img, mask_thr_binary.
    """

    def __init__(self, num_stages: int, stage_loss_weights: Sequence[float], bbox_roi_extractor: dict | Sequence[dict],
                 bbox_head: dict | Sequence[dict], mask_roi_extractor: dict | Sequence[dict] | None = None,
                 mask_head: dict | Sequence[dict] | None = None, train_cfg: Sequence[dict] | None = None,
                 test_cfg: dict | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        parts: dict[str, Any] = dict(bbox_roi_extractor=bbox_roi_extractor, bbox_head=bbox_head,
                                     mask_roi_extractor=mask_roi_extractor, mask_head=mask_head, train_cfg=train_cfg)
        for name, part in dict(parts, stage_loss_weights=list(stage_loss_weights)).items():
            if isinstance(part, (list, tuple)) and len(part) != num_stages:
                raise UserError(f'{"train_cfg.rcnn" if name == "train_cfg" else f"roi_head.{name}"} is a list of '
                                f'{len(part)}, but roi_head.num_stages is {num_stages}')
        if isinstance(train_cfg, dict):
            raise UserError(f'train_cfg.rcnn of a CascadeRoIHead is a list, one of each of {num_stages} stages')
        # Their heads are this module's, by the names that checkpoints have; the stages themselves hold nothing else.
        self.stages = tuple(StandardRoIHead(**{name: part[i] if isinstance(part, (list, tuple)) else part
                                               for name, part in parts.items()}) for i in range(num_stages))
        self.bbox_roi_extractor = ModuleList(stage.bbox_roi_extractor for stage in self.stages)
        self.bbox_head = ModuleList(stage.bbox_head for stage in self.stages)
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_roi_extractor = ModuleList(stage.mask_roi_extractor for stage in self.stages)
            self.mask_head = ModuleList(stage.mask_head for stage in self.stages)
        self.stage_loss_weights = stage_loss_weights
        self.test_cfg: Any = test_cfg
