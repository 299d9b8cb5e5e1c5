"""Second stage of Faster R-CNN (arXiv 1506.01497) and Mask R-CNN (arXiv 1703.06870).

Shapes: B images, G most objects and P proposals of an image, R sampled RoIs of an image; rois are (rows, 5): image
index, then xyxy pixels of the resized image.
"""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.models.task_modules.matching import IGNORED
from mmdet.ops import select_rois
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample, GroundTruth
from mmdet.structures.mask import PastedMasks


@MODELS.register_module()
class StandardRoIHead(BaseModule):
    """Samples proposals, reads their features, and runs the box head and, if there is one, the mask head.

    Args:
        bbox_roi_extractor, bbox_head: configs.
        mask_roi_extractor, mask_head: configs, or None for boxes alone; without an extractor of its own the mask head
            reads the box head's.
        train_cfg: assigner, sampler. test_cfg: score_thr, nms, max_per_img, mask_thr_binary.
    """

    def __init__(self, bbox_roi_extractor: dict, bbox_head: dict, mask_roi_extractor: dict | None = None,
                 mask_head: dict | None = None, train_cfg: dict | None = None, test_cfg: dict | None = None,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_head = MODELS.build(mask_head)
            self.mask_roi_extractor = MODELS.build(mask_roi_extractor or bbox_roi_extractor)
        self.test_cfg: Any = test_cfg
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(train_cfg['sampler'])
            size = train_cfg.get('mask_size')
            self.mask_size = None if size is None else (size, size) if isinstance(size, int) else tuple(size)

    def loss(self, features: Sequence[Tensor], proposals: Tensor, valid: Tensor, gt: GroundTruth,
             batch_input_shape: tuple[int, int]) -> dict[str, Tensor]:
        """dict of losses for `proposals` (B, P, 4), bool `valid` (B, P) and GroundTruth `gt`.

        Args:
            batch_input_shape: (height, width) of the padded batch in pixels.
        """
        sample, boxes, objects = self._sample(proposals, valid, gt)
        every = torch.arange(sample.valid.numel(), device=boxes.device)
        rows, real = select_rois(sample.valid.flatten(), every)
        positive, foreground = select_rois(sample.positive.flatten()[rows],
                                           every.view_as(sample.valid)[:, :sample.max_positive].flatten())
        rois = to_rois(boxes)[rows]
        labels = torch.where(sample.positive, gt.labels.gather(1, objects), self.bbox_head.num_classes)
        labels = labels.flatten()[rows]
        weight = sample.valid.flatten()[rows].float()

        outputs = self.bbox_head(self.bbox_roi_extractor(features, rois), real)
        gt_boxes = gt.boxes.gather(1, objects[..., None].expand(-1, -1, 4)).flatten(0, 1)[rows][positive]
        losses = self.bbox_head.loss(*outputs, rois, labels, gt_boxes, weight, positive)
        if self.mask_head is not None:
            rois, labels = rois[positive], labels[positive]
            weight = (labels < self.bbox_head.num_classes).float()
            logits = self.mask_head(self.mask_roi_extractor(features, rois), foreground)
            mask_rows = gt.mask_rows.gather(1, objects).flatten()[rows][positive]
            labels = labels.clamp(max=self.bbox_head.num_classes - 1)
            losses.update(self.mask_head.loss(logits, rois, labels, mask_rows, weight, gt,
                                              batch_input_shape))
        return losses

    def _sample(self, boxes, valid, gt):
        """A Sample, its boxes (B, R, 4) and the object (B, R) each stands for (0 where it stands for none)."""
        matched = self.assigner(boxes, gt, valid)
        if self.sampler.add_gt_as_proposals:
            own = torch.arange(gt.valid.shape[1], device=matched.device)
            matched = torch.cat([torch.where(gt.valid, own, IGNORED), matched], dim=1)
            boxes = torch.cat([gt.boxes, boxes], dim=1)
        sample = self.sampler(matched)
        boxes = boxes.gather(1, sample.index[..., None].expand(-1, -1, 4))
        return sample, boxes, matched.gather(1, sample.index).clamp(min=0)

    def predict(self, features: Sequence[Tensor], proposals: Tensor, valid: Tensor, samples: Sequence[DetDataSample],
                rescale: bool = True, with_masks: bool = True) -> list[InstanceData]:
        """list of B InstanceData: bboxes (D, 4), scores, labels and, with a mask head, masks (PastedMasks).

        Args:
            samples: DetDataSamples that tell img_shape and, to rescale, ori_shape and scale_factor (w, h; absent: 1).
            rescale: results lie in the original image, not in the resized one.
            with_masks: whether a mask head is asked.
        """
        image_sizes = proposals.new_tensor([sample.img_shape[:2] for sample in samples])
        rois = to_rois(proposals)[valid.flatten()]
        outputs = self.bbox_head(self.bbox_roi_extractor(features, rois))
        detections = self.bbox_head.predict(*outputs, rois, image_sizes, self.test_cfg)
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

    def mask_probs(self, features: Sequence[Tensor], boxes: Sequence[Tensor],
                   labels: Sequence[Tensor]) -> Sequence[Tensor]:
        """For each image, mask probabilities (D, h, w) of its boxes (D, 4), in the resized image, and labels (D,)."""
        counts = [len(of_image) for of_image in boxes]
        images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        rois = torch.cat([images.to(boxes[0])[:, None], torch.cat(list(boxes))], dim=1)
        return self.mask_head.predict(self.mask_roi_extractor(features, rois), torch.cat(list(labels))).split(counts)


def to_rois(boxes: Tensor) -> Tensor:
    """Boxes (B, N, 4) -> rois (B * N, 5)."""
    images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat([images[:, None, None].expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)
