"""The whole detector as one module, tensors in, tensors out: what torch.export and ONNX can hold.

Shapes: B pictures of one size (H, W), P proposals and D detections of a picture, K classes. D is the largest number of
detections that a picture of the batch has, at least 1; a picture that has fewer fills up with label -1 and score 0.
"""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.ops import nms_images
from mmdet.structures import to_rois


class WholeDetector(nn.Module):
    """Pictures to detections by a detector's own parts and test_cfg, without lists and loops over pictures.

    Args:
        detector: a Faster or Mask R-CNN in evaluation mode, see `check_parts`.
    """

    def __init__(self, detector: TwoStageDetector):
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (B, H, W, 3), BGR as cv2.imread gives them, resized before as the test pipeline does.

        Returns:
            boxes float32 (B, D, 4) xyxy pixels, labels int64 (B, D), scores float32 (B, D), best first, and with a mask
            head masks uint8 (B, D, H, W), 0 or 1.
        """
        model = self.detector
        batch, height, width, _ = images.shape
        features = model.extract_feat(self._inputs(images))
        sizes = [tuple(feature.shape[2:]) for feature in features]
        image_sizes = torch.stack([torch.full((batch,), side, dtype=torch.float32, device=images.device)
                                   for side in (height, width)], dim=1)
        proposals, _, valid = model.rpn_head.proposals(*model.rpn_head(features), sizes, image_sizes)
        boxes, labels, scores = self._boxes(features, proposals, valid, image_sizes)
        if model.roi_head.mask_head is None:
            return boxes, labels, scores
        probs = model.roi_head.mask_head.predict(model.roi_head.mask_features(features, to_rois(boxes)),
                                                 labels.flatten().clamp(min=0))
        masks = paste(probs, boxes.flatten(0, 1), height, width, model.roi_head.test_cfg['mask_thr_binary'])
        return boxes, labels, scores, masks.unflatten(0, (batch, -1))

    def _inputs(self, images):
        """(B, 3, H', W'), normalized and padded as the detector's data_preprocessor does."""
        prepare = self.detector.data_preprocessor
        divisor = prepare.pad_size_divisor
        # So written the sizes of all feature maps are simple terms, and the export takes a third of the time.
        below, right = ((side + divisor - 1) // divisor * divisor - side for side in images.shape[1:3])
        inputs = images.permute(0, 3, 1, 2).float()
        if prepare.reverse_channels:
            inputs = inputs.flip(1)
        return F.pad((inputs - prepare.mean) / prepare.std, (0, right, 0, below), value=prepare.pad_value)

    def _boxes(self, features, proposals, valid, image_sizes):
        """The box head's detections: boxes (B, D, 4), labels (B, D), scores (B, D)."""
        head, cfg = self.detector.roi_head.bbox_head, self.detector.roi_head.test_cfg
        batch, num_proposals, _ = proposals.shape
        rois = to_rois(proposals)
        logits, deltas, _ = self.detector.roi_head.box_outputs(features, rois)
        scores = logits.float().softmax(1)[:, :-1].unflatten(0, (batch, num_proposals)).transpose(1, 2)
        scores = torch.where((scores > cfg['score_thr']) & valid[:, None], scores, -torch.inf)
        deltas = deltas.unflatten(1, (-1, 4)).unflatten(0, (batch, num_proposals)).transpose(1, 2)
        boxes = head.bbox_coder.decode(proposals[:, None], deltas, image_sizes[:, None, None])
        boxes = boxes.expand(-1, head.num_classes, -1, -1)
        # One row of candidates for NMS: (B, K, P) by class, or of all classes together.
        rows = (0, 1) if not cfg['nms'].get('class_agnostic') else (1, 2)
        scores, boxes = scores.flatten(*rows), boxes.flatten(*rows)
        limit = scores.shape[1] if cfg['max_per_img'] < 0 else torch.sym_min(cfg['max_per_img'], scores.shape[1])
        keep = nms_images(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), cfg['nms']['iou_threshold'],
                          limit, cfg['nms'].get('offset', 0))
        kept, keep = keep >= 0, keep.clamp(min=0)
        labels = torch.arange(head.num_classes, device=scores.device)[:, None].expand(-1, num_proposals)
        labels = labels.expand(batch, -1, -1).flatten(*rows).gather(1, keep).unflatten(0, (batch, -1)).flatten(1)
        scores = torch.where(kept, scores.gather(1, keep), 0).unflatten(0, (batch, -1)).flatten(1)
        boxes = boxes.gather(1, keep[..., None].expand(-1, -1, 4)).unflatten(0, (batch, -1)).flatten(1, 2)
        limit = scores.shape[1] if cfg['max_per_img'] < 0 else torch.sym_min(cfg['max_per_img'], scores.shape[1])
        scores, best = scores.topk(limit, dim=1)
        most = (scores > 0).sum(1).amax(0).clamp(min=1).item()
        torch._check(most >= 1)
        torch._check(most <= limit)
        scores, best = scores[:, :most], best[:, :most]
        found = scores > 0
        boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4)) * found[..., None]
        return boxes, torch.where(found, labels.gather(1, best), -1), scores


def paste(probs: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """As ops.paste_masks, by two matrix products: bilinear interpolation is linear in rows and in columns.

    Args:
        probs: float32 (N, h, w). boxes: float32 (N, 4) xyxy pixels. height, width: of the picture.
        threshold: a pixel belongs to the mask from this probability on.

    Returns:
        uint8 (N, height, width).
    """
    def weights(start, stop, count, size):
        """(N, size, count): what each of `count` cells between start and stop (N,) adds at each of `size` pixels."""
        pixel = torch.arange(size, device=boxes.device) + 0.5
        position = (pixel - start[:, None]) / (stop - start).clamp(min=1e-6)[:, None] * count - 0.5
        return (1 - (position[..., None] - torch.arange(count, device=boxes.device)).abs()).clamp(min=0)
    left, top, right, bottom = boxes.unbind(1)
    rows, columns = weights(top, bottom, probs.shape[1], height), weights(left, right, probs.shape[2], width)
    return (rows @ probs @ columns.transpose(1, 2) >= threshold).to(torch.uint8)
