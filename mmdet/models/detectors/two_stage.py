"""Fast (arXiv 1504.08083), Faster (1506.01497), Mask (1703.06870) and Cascade R-CNN (1712.00726).

One image batch from pixels to losses or boxes.
"""
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, GroundTruth, Proposals, pack_image_sizes

NO_PROPOSALS = ('this model has no rpn_head, and its images bring no proposals: the data set needs proposal_file, '
                'which tools/test.py writes for an RPN with DumpProposals, and its pipeline LoadProposals')


class BaseDetector(BaseModel):
    """A backbone, perhaps a neck, and the heads of a subclass, which says what `loss` and `predict_features` do.

    Args:
        backbone, neck, data_preprocessor: configs of the parts; neck may be None.
    """

    takes_samples = False  # whether `loss` is one of a subclass that was written for lists, as mmdetection's

    def __init__(self, backbone: dict | None = None, neck: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None):
        super().__init__(MODELS.build(data_preprocessor or dict(type='DetDataPreprocessor')), init_cfg)
        if backbone is not None:
            self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.takes_samples = 'gt' not in inspect.signature(cls.loss).parameters

    @property
    def with_neck(self) -> bool:
        return self.neck is not None

    def heads(self) -> Iterator[nn.Module]:
        """The heads that are tensors in, tensors out."""
        raise NotImplementedError

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch.compile, with its options, the parts that are tensors in, tensors out; state-dict names stay.

        What lies between them (targets, sampling, NMS) is of shapes that depend on the data and runs as it is, and so
        does a part with a norm that `breaks_graphs`, such as CBN and SyncBN.
        """
        for part in (self.backbone, self.neck, *self.heads()):
            if part is not None and not any(getattr(module, 'breaks_graphs', False) for module in part.modules()):
                part.compile(*args, **kwargs)

    def forward(self, inputs: Tensor, data_samples: Sequence[DetDataSample] | None = None, mode: str = 'tensor',
                gt: GroundTruth | None = None) -> dict[str, Tensor] | Sequence[DetDataSample] | tuple[Tensor, ...]:
        """Run on a preprocessed batch.

        Args:
            inputs: float (B, 3, H, W).
            data_samples: list of B DetDataSample.
            mode: 'loss' -> dict of losses; 'predict' -> data_samples with pred_instances; 'tensor' -> feature maps.
            gt: GroundTruth, which the data preprocessor packs in training; mode 'loss' needs it.
        """
        if mode == 'loss':
            if gt is None:
                raise UserError("mode='loss' needs gt, which data_preprocessor(data, training=True) packs from the "
                                'data_samples')
            return self.loss(inputs, data_samples if self.takes_samples else gt)  # type: ignore[arg-type]
        if mode == 'predict':
            return self.predict(inputs, data_samples)  # type: ignore[arg-type]  # this mode needs them
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise UserError(f"mode must be 'loss', 'predict' or 'tensor', not {mode!r}")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> tuple of feature maps, finest first."""
        features = self.backbone(inputs)
        return features if self.neck is None else self.neck(features)

    def loss(self, inputs: Tensor, gt: GroundTruth) -> dict[str, Tensor]:
        """dict of 0-dim losses (names have `loss` in them) and figures to log."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Sequence[DetDataSample],
                rescale: bool = True) -> Sequence[DetDataSample]:
        """`data_samples`, each with `pred_instances`; in pixels of the original image if `rescale`."""
        return self.predict_features(self.extract_feat(inputs), data_samples, rescale)

    def predict_features(self, features: Sequence[Tensor], data_samples: Sequence[DetDataSample], rescale: bool = True,
                         with_masks: bool = True) -> Sequence[DetDataSample]:
        """As `predict`, from the feature maps of the images; without masks unless `with_masks`."""
        raise NotImplementedError

    def add_pred_to_datasample(self, data_samples: Sequence[DetDataSample],
                               results_list: Sequence[InstanceData]) -> Sequence[DetDataSample]:
        """`data_samples`, each with its result as `pred_instances`."""
        for sample, result in zip(data_samples, results_list):
            sample.pred_instances = result
        return data_samples


class TwoStageDetector(BaseDetector):
    """Backbone, neck, proposals, RoIs.

    Args:
        backbone, neck, rpn_head, roi_head, data_preprocessor: configs of the parts; neck may be None. Without rpn_head
            the data samples bring the proposals.
        train_cfg: rpn, rpn_proposal and rcnn. test_cfg: rpn and rcnn.
    """

    def __init__(self, backbone: dict, rpn_head: dict | None = None, roi_head: dict | None = None,
                 train_cfg: dict | None = None, test_cfg: dict | None = None, neck: dict | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        of_rpn = rpn_head is not None
        check_keys(dict(train_cfg=train_cfg, test_cfg=test_cfg),
                   dict(train_cfg=('rpn', 'rpn_proposal') * of_rpn + ('rcnn',), test_cfg=('rpn',) * of_rpn + ('rcnn',)))
        train, test = train_cfg or {}, test_cfg or {}
        self.rpn_head: Any = None
        if of_rpn:
            self.rpn_head = MODELS.build(rpn_head, default_args=dict(train_cfg=train.get('rpn'),
                                                                     test_cfg=test.get('rpn')))
        self.roi_head = MODELS.build(roi_head, default_args=dict(train_cfg=train.get('rcnn'),
                                                                 test_cfg=test.get('rcnn')))
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self.proposal_cfg = train.get('rpn_proposal')
        self.to(memory_format=torch.channels_last)

    @property
    def with_rpn(self) -> bool:
        return self.rpn_head is not None

    @property
    def with_bbox(self) -> bool:
        return True

    @property
    def with_mask(self) -> bool:
        return self.roi_head.mask_head is not None

    def heads(self) -> Iterator[nn.Module]:
        yield self.rpn_head
        for stage in self.roi_head.stages:
            yield stage.bbox_head
            yield stage.mask_head

    def loss(self, inputs: Tensor, gt: GroundTruth) -> dict[str, Tensor]:
        """dict of 0-dim losses (names have `loss` in them) and figures to log; `gt` may also be the data samples."""
        if not isinstance(gt, GroundTruth):
            gt = GroundTruth.from_samples(gt, inputs.device)
        features, losses = self.extract_feat(inputs), {}
        if self.rpn_head is None:
            if gt.proposals is None:
                raise UserError(NO_PROPOSALS)
            proposals, valid = gt.proposals
        else:
            sizes = [tuple(feature.shape[2:]) for feature in features]
            logits, deltas = self.rpn_head(features)
            losses = self.rpn_head.loss(logits, deltas, sizes, gt)
            proposals, _, valid = self.rpn_head.proposals(logits, deltas, sizes, gt.image_sizes, self.proposal_cfg)
        losses.update(self.roi_head.loss(features, proposals, valid, gt, inputs.shape[2:]))
        return losses

    def predict_features(self, features: Sequence[Tensor], data_samples: Sequence[DetDataSample], rescale: bool = True,
                         with_masks: bool = True) -> Sequence[DetDataSample]:
        """As `predict`, from the feature maps of the images; without masks unless `with_masks`."""
        if self.rpn_head is None:
            if 'proposals' not in data_samples[0]:
                raise UserError(NO_PROPOSALS)
            proposals, valid = Proposals.from_samples(data_samples, features[0].device)
        else:
            sizes = [tuple(feature.shape[2:]) for feature in features]
            image_sizes = pack_image_sizes(data_samples, features[0].device)
            logits, deltas = self.rpn_head(features)
            proposals, _, valid = self.rpn_head.proposals(logits, deltas, sizes, image_sizes)
        results = self.roi_head.predict(features, proposals, valid, data_samples, rescale, with_masks)
        return self.add_pred_to_datasample(data_samples, results)


def check_keys(given: dict[str, dict | None], wanted: dict[str, Sequence[str]]) -> None:
    """Raise UserError where train_cfg or test_cfg is given and lacks a part."""
    for name, keys in wanted.items():
        cfg = given[name]
        missing = [key for key in keys if cfg is not None and key not in cfg]
        if missing:
            raise UserError(f'model.{name} lacks {", ".join(missing)}')


@MODELS.register_module()
class FastRCNN(TwoStageDetector):
    """Boxes, and masks if there is a mask head, from the proposals of a file."""


@MODELS.register_module()
class FasterRCNN(TwoStageDetector):
    """Boxes alone."""


@MODELS.register_module()
class CascadeRCNN(TwoStageDetector):
    """Boxes, and masks if there is a mask head; its roi_head is a CascadeRoIHead."""


@MODELS.register_module()
class MaskRCNN(TwoStageDetector):
    """Boxes and masks."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        if self.roi_head.mask_head is None:
            raise UserError('MaskRCNN needs model.roi_head.mask_head; without masks the type is FasterRCNN')
