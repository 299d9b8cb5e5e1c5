"""Second stage of Faster R-CNN (arXiv 1506.01497) and Mask R-CNN (arXiv 1703.06870).

Shapes: B images, of each G most objects, P proposals, R sampled RoIs, D detections; Q rows of sampled RoIs of all
images, F of them that may be positive; rois are (rows, 5): image index, then xyxy pixels of the resized image.
"""
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from mmdet.models.task_modules.matching import IGNORED
from mmdet.ops import select_rois
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import GroundTruth, Proposals, pack_image_sizes, packed_lists, to_rois
from mmdet.structures.mask import PastedMasks

from .roi_sample import RoISample


class BaseRoIHead(BaseModule):
    """Runs its `stages`, each on the boxes of the one before; in testing what they say is averaged.

    Attributes:
        stages: StandardRoIHeads. A head that is its own only stage needs no stage_loss_weights.
        stage_loss_weights: factor of each stage's losses.
        mask_head: None where there are boxes alone.
        test_cfg: score_thr, nms, max_per_img, mask_thr_binary.
    """
    stages: Sequence[Any]
    stage_loss_weights: Sequence[float] = (1.,)
    mask_head: Any
    test_cfg: Any

    def loss(self, features: Sequence[Tensor], proposals: Any, valid: Any, gt: Any = None,
             batch_input_shape: Any = None) -> dict[str, Tensor]:
        """dict of losses for `proposals` (B, P, 4), bool `valid` (B, P), GroundTruth, (height, width) of the batch.

        Or as mmdetection calls it: for a list of InstanceData with `bboxes` (P, 4), and one of DetDataSample."""
        if not isinstance(proposals, Tensor):
            return self.loss(features, *packed_lists(proposals, valid, features[0].device))
        losses = {}
        for i, (stage, factor) in enumerate(zip(self.stages, self.stage_loss_weights)):
            sample = stage.sample(features, proposals, valid, gt)
            rois, labels, positive = sample.rois, sample.labels, sample.positive
            logits, deltas, x = stage.box_outputs(features, rois, sample.real)
            own = stage.bbox_head.loss(logits, deltas, rois, labels, sample.gt_boxes, sample.weight, positive)
            if stage.mask_head is not None:
                most = stage.mask_capacity and stage.mask_capacity * len(gt.valid)
                masked, rows = select_rois(sample.foreground, positive, most)
                rois = rois[masked]
                weight = torch.ones_like(rois[:, 0]) if rows is None else rows.float()
                x = x[masked] if stage.masks_share_features else stage.mask_features(features, rois, rows)
                own.update(stage.mask_head.loss(
                    stage.mask_head(x, rows), rois, labels[masked].clamp(max=stage.bbox_head.num_classes - 1),
                    sample.mask_rows[masked], weight, gt, batch_input_shape))
                if most:
                    own['masks_left_out'] = sample.foreground.sum() - weight.sum()
            if stage is self:
                return own
            losses.update({f's{i}.{name}': value * factor if 'loss' in name else value for name, value in own.items()})
            proposals, valid = stage.refined(logits, deltas, sample, gt)
        return losses

    def predict(self, features: Sequence[Tensor], proposals: Any, valid: Any, samples: Any = None,
                rescale: bool = True, with_masks: bool = True) -> list[InstanceData]:
        """list of B InstanceData: bboxes (D, 4), scores, labels and, with a mask head, masks (PastedMasks).

        Args:
            proposals, valid: (B, P, 4), and bool (B, P): those that are no padding. Or lists, as in `loss`.
            samples: DetDataSamples that tell img_shape and, to rescale, ori_shape and scale_factor (w, h; absent: 1).
            rescale: results lie in the original image, not in the resized one.
            with_masks: whether a mask head is asked.
        """
        if not isinstance(proposals, Tensor):
            (proposals, valid), samples = Proposals.pack([x.bboxes for x in proposals], features[0].device), valid
        place, real = select_rois(valid.flatten(), torch.arange(valid.numel(), device=valid.device))
        detections = self.detect(features, to_rois(proposals)[place], pack_image_sizes(samples, valid.device), real)
        probs = None
        if self.mask_head is not None and with_masks:
            probs = self.mask_probs(features, *zip(*((boxes, labels) for boxes, _, labels in detections)))
        results = []
        for i, ((boxes, scores, labels), sample) in enumerate(zip(detections, samples)):
            height, width = sample.img_shape[:2]
            if rescale:
                height, width = sample.ori_shape[:2]
                boxes = boxes / boxes.new_tensor(sample.get('scale_factor', (1., 1.))).repeat(2)
            result = InstanceData(bboxes=boxes, scores=scores, labels=labels)
            if probs is not None:
                result.masks = PastedMasks(probs[i], boxes, height, width, self.test_cfg['mask_thr_binary'])
            results.append(result)
        return results

    def detect(self, features: Sequence[Tensor], rois: Tensor, image_sizes: Tensor,
               real: Tensor | None = None) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each image boxes (D, 4) in the resized image, scores (D,) and labels (D,), from `rois` (rows, 5).

        real: bool (rows,), those that are no padding; None: all.
        """
        total: Any = 0
        for i, stage in enumerate(self.stages, 1):
            logits, deltas, _ = stage.box_outputs(features, rois)
            total = total + logits
            if i < len(self.stages):
                boxes = stage.bbox_head.refine(rois, logits[:, :-1].argmax(dim=1), deltas, image_sizes)
                rois = torch.cat([rois[:, :1], boxes], dim=1)
        if real is not None:
            total[:, :-1].masked_fill_(~real[:, None], -torch.inf)  # is background
        return stage.bbox_head.predict(total / i, deltas, rois, image_sizes, self.test_cfg)

    def mask_probs(self, features: Sequence[Tensor], boxes: Sequence[Tensor],
                   labels: Sequence[Tensor]) -> Sequence[Tensor]:
        """For each image, mask probabilities (D, h, w) of its boxes (D, 4), in the resized image, and labels (D,)."""
        counts = [len(of_image) for of_image in boxes]
        images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        rois = torch.cat([images.to(boxes[0])[:, None], torch.cat(list(boxes))], dim=1)
        of_all = torch.cat(list(labels))
        probs = [stage.mask_head.predict(stage.mask_features(features, rois), of_all) for stage in self.stages]
        return (sum(probs) / len(probs)).split(counts)


@MODELS.register_module()
class StandardRoIHead(BaseRoIHead):
    """Samples proposals, reads their features, and runs the box head and, if there is one, the mask head.

    Args:
        bbox_roi_extractor, bbox_head: configs.
        mask_roi_extractor, mask_head: configs, or None for boxes alone; without an extractor of its own the mask head
            reads the box head's features.
        shared_head: config of what runs on all RoI features before the heads, or None.
        train_cfg: assigner, sampler, and mask_capacity: most positives of an image, on average over the batch, whose
            masks are learned. Of more chance takes so many, and `masks_left_out` counts the others. None: all.
        test_cfg: score_thr, nms, max_per_img, mask_thr_binary.
    """

    def __init__(self, bbox_roi_extractor: dict, bbox_head: dict, mask_roi_extractor: dict | None = None,
                 mask_head: dict | None = None, shared_head: dict | None = None, train_cfg: dict | None = None,
                 test_cfg: dict | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)
        self.shared_head: Any = None if shared_head is None else MODELS.build(shared_head)
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_head = MODELS.build(mask_head)
            self.masks_share_features = mask_roi_extractor is None
            self.mask_roi_extractor = (self.bbox_roi_extractor if mask_roi_extractor is None else
                                       MODELS.build(mask_roi_extractor))
        self.test_cfg: Any = test_cfg
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(train_cfg['sampler'])
        self.mask_capacity = (train_cfg or {}).get('mask_capacity')

    @property
    def stages(self) -> tuple['StandardRoIHead']:  # type: ignore[override]  # fixed here
        return (self,)

    def sample(self, features: Sequence[Tensor], proposals: Tensor, valid: Tensor, gt: GroundTruth) -> RoISample:
        """Match and sample `proposals`, which the ground truth joins if the sampler says so. Arguments as `loss`."""
        matched = self.assigner(proposals, gt, valid)
        boxes, num_own = proposals, 0
        if self.sampler.add_gt_as_proposals:
            num_own = gt.valid.shape[1]
            own = torch.arange(num_own, device=matched.device)
            matched = torch.cat([torch.where(gt.valid, own, IGNORED), matched], dim=1)
            boxes = torch.cat([gt.boxes, boxes], dim=1)
        index, is_positive, is_real, max_positive = self.sampler(
            matched, boxes, gt, partial(self.class_losses, features, boxes, matched, gt))
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        objects = matched.gather(1, index).clamp(min=0)

        every = torch.arange(is_real.numel(), device=boxes.device)
        place, real = select_rois(is_real.flatten(), every)
        foreground = is_positive.flatten()[place]
        positive, _ = select_rois(foreground, every.view_as(is_real)[:, :max_positive].flatten())
        labels = torch.where(is_positive, gt.labels.gather(1, objects), self.bbox_head.num_classes)
        gt_boxes = gt.boxes.gather(1, objects[..., None].expand(-1, -1, 4)).flatten(0, 1)
        mask_rows = gt.mask_rows.gather(1, objects).flatten()
        return RoISample(to_rois(boxes)[place], labels.flatten()[place], is_real.flatten()[place].float(), real,
                         positive, gt_boxes[place[positive]], foreground, mask_rows[place], place,
                         is_real & (index >= num_own))

    @torch.no_grad()
    def class_losses(self, features: Sequence[Tensor], boxes: Tensor, matched: Tensor, gt: GroundTruth) -> Tensor:
        """The cross entropy (B, N) of the class of each of `boxes` (B, N, 4), matched as an assigner does.

        The box head is asked in evaluation mode: its norms must not count these boxes.
        """
        labels = torch.where(matched >= 0, gt.labels.gather(1, matched.clamp(min=0)), self.bbox_head.num_classes)
        parts = [part for part in (self.bbox_head, self.shared_head) if part is not None and part.training]
        for part in parts:
            part.eval()
        logits, _, _ = self.box_outputs(features, to_rois(boxes))
        for part in parts:
            part.train()
        class_weight = getattr(self.bbox_head.loss_cls, 'class_weight', None)
        return F.cross_entropy(logits.float(), labels.flatten(), class_weight, reduction='none').view_as(labels)

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor,
                    rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The box head's logits and deltas for `rois` (Q, 5), and the features (Q, C, h, w) they come from.

        rows: bool (Q,), those that are no padding; None: all.
        """
        x = self.bbox_roi_extractor(features, rois)
        if self.shared_head is not None:
            x = self.shared_head(x, rows)
        return *self.bbox_head(x, rows), x

    def mask_features(self, features: Sequence[Tensor], rois: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the mask head reads: features (Q, C, h, w) of `rois` (Q, 5); `rows` as `box_outputs`."""
        x = self.mask_roi_extractor(features, rois)
        return x if self.shared_head is None else self.shared_head(x, rows)

    @torch.no_grad()
    def refined(self, logits: Tensor, deltas: Tensor, sample: RoISample, gt: GroundTruth) -> tuple[Tensor, Tensor]:
        """The proposals (B, R, 4) that the box head's outputs make of its RoIs, and bool (B, R): those to go on with.

        Of a positive the deltas of its object's class count, of another those of its best class.
        """
        best = logits[:, :-1].argmax(dim=1)
        labels = torch.where(sample.labels < self.bbox_head.num_classes, sample.labels, best)
        boxes = self.bbox_head.refine(sample.rois, labels, deltas, gt.image_sizes)
        proposals = boxes.new_zeros(sample.proposed.numel(), 4).index_copy(0, sample.place, boxes)
        return proposals.view(*sample.proposed.shape, 4), sample.proposed
