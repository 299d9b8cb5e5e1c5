"""Region Proposal Network (arXiv 1506.01497) by itself: boxes of anything, which other detectors read from a file."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, GroundTruth, pack_image_sizes

from .two_stage import BaseDetector, check_keys


@MODELS.register_module()
class RPN(BaseDetector):
    """Backbone, neck, proposals.

    Args:
        backbone, neck, rpn_head, data_preprocessor: configs of the parts; neck may be None.
        train_cfg, test_cfg: rpn.
    """

    def __init__(self, backbone: dict, rpn_head: dict, train_cfg: dict | None = None, test_cfg: dict | None = None,
                 neck: dict | None = None, data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        check_keys(dict(train_cfg=train_cfg, test_cfg=test_cfg), dict(train_cfg=('rpn',), test_cfg=('rpn',)))
        self.bbox_head = MODELS.build(rpn_head, default_args=dict(train_cfg=(train_cfg or {}).get('rpn'),
                                                                  test_cfg=(test_cfg or {}).get('rpn')))
        self.to(memory_format=torch.channels_last)

    def heads(self) -> Iterator[nn.Module]:
        yield self.bbox_head

    def loss(self, inputs: Tensor, gt: GroundTruth) -> dict[str, Tensor]:
        """dict of `loss_rpn_cls` and `loss_rpn_bbox`."""
        features = self.extract_feat(inputs)
        sizes = [tuple(feature.shape[2:]) for feature in features]
        return self.bbox_head.loss(*self.bbox_head(features), sizes, gt)

    def predict_features(self, features: Sequence[Tensor], data_samples: Sequence[DetDataSample], rescale: bool = True,
                         with_masks: bool = True) -> Sequence[DetDataSample]:
        """`data_samples` with pred_instances: bboxes (P, 4), scores and labels, all 0."""
        sizes = [tuple(feature.shape[2:]) for feature in features]
        image_sizes = pack_image_sizes(data_samples, features[0].device)
        proposals = self.bbox_head.proposals(*self.bbox_head(features), sizes, image_sizes)
        for sample, boxes, scores, valid in zip(data_samples, *proposals):
            boxes, scores = boxes[valid], scores[valid]
            if rescale:
                boxes = boxes / boxes.new_tensor(sample.get('scale_factor', (1., 1.))).repeat(2)
            labels = torch.zeros_like(scores, dtype=torch.long)
            sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        return data_samples

    def _load_from_state_dict(self, state_dict: Mapping, prefix: str, *args: Any) -> None:
        """Take an RPN's weights from a two-stage detector's, too, where they are named rpn_head."""
        for name in [name for name in state_dict if name.startswith(f'{prefix}rpn_head.')]:
            own = prefix + 'bbox_head.' + name[len(prefix) + len('rpn_head.'):]
            state_dict[own] = state_dict.pop(name)  # type: ignore[index,attr-defined]  # a dict of its own
        super()._load_from_state_dict(state_dict, prefix, *args)
