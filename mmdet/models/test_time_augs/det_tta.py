"""Test-time augmentation: a picture is looked at in several sizes and mirrored, and the detections are merged.

Boxes follow mmdetection's DetTTAModel: those of all views, mirrored back, go through one NMS. Masks are predicted for
the boxes that are left, in every view, and their probabilities averaged, as in Mask R-CNN (arXiv 1703.06870), B.
Shapes: V views of each of B images; D detections of an image.
"""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList, merge_instances
from mmdet.structures.mask import PastedMasks

MIRRORED = {'horizontal': (True, False), 'vertical': (False, True), 'diagonal': (True, True)}  # x and y


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """A detector that sees each picture as often as the pipeline's TestTimeAug has views of it.

    Args:
        module: the detector, or its config.
        tta_cfg: nms, dict(type='nms', iou_threshold=..., class_agnostic=False), and max_per_img (negative: all).
    """

    def __init__(self, module: dict | nn.Module, tta_cfg: dict | None = None,
                 data_preprocessor: dict | nn.Module | None = None):
        super().__init__(MODELS.build(module) if isinstance(module, dict) else module, data_preprocessor)
        cfg: Any = tta_cfg or dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        if cfg['nms'].get('type', 'nms') != 'nms':
            raise UserError(f"tta_model.tta_cfg.nms.type={cfg['nms']['type']!r}: only 'nms' is defined here")
        self.tta_cfg = cfg

    @torch.no_grad()
    def test_step(self, data: dict[str, Sequence]) -> SampleList:
        """B samples with pred_instances in pixels of the original images.

        Args:
            data: inputs and data_samples, each a list of V lists of B.
        """
        views = [self._look(dict(inputs=inputs, data_samples=samples))
                 for inputs, samples in zip(data['inputs'], data['data_samples'], strict=True)]
        merged = self.merge_preds(list(zip(*(samples for _, samples in views), strict=True)))
        if getattr(getattr(self.module, 'roi_head', None), 'mask_head', None) is not None:
            self._add_masks(merged, views)
        return merged

    def _look(self, data: dict) -> tuple[tuple[Tensor, ...], Sequence[DetDataSample]]:
        """Features of one view of all images, and the samples with its boxes."""
        batch = self.module.data_preprocessor(data, False)
        features = self.module.extract_feat(batch['inputs'])
        return features, self.module.predict_features(features, batch['data_samples'], with_masks=False)

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> SampleList:
        """For each image its V samples -> the first of them, with the pred_instances of all."""
        return [self._merge_single_sample(samples) for samples in data_samples_list]

    def _merge_single_sample(self, samples: Sequence[DetDataSample]) -> DetDataSample:
        found = []
        for sample in samples:
            instances = sample.pred_instances
            boxes = mirror_boxes(instances.bboxes, sample, sample.ori_shape)
            found.append(InstanceData(bboxes=boxes, scores=instances.scores, labels=instances.labels))
        nms = self.tta_cfg['nms']
        samples[0].pred_instances = merge_instances(found, nms['iou_threshold'], self.tta_cfg['max_per_img'],
                                                    nms.get('class_agnostic', False))
        return samples[0]

    def _add_masks(self, merged: SampleList, views: list) -> None:
        head = self.module.roi_head
        probs = [self._mask_probs(merged, features, samples) for features, samples in views]
        for sample, of_views in zip(merged, zip(*probs, strict=True), strict=True):
            instances = sample.pred_instances
            height, width = sample.ori_shape[:2]
            instances.masks = PastedMasks(torch.stack(of_views).mean(0), instances.bboxes, height, width,
                                          head.test_cfg['mask_thr_binary'])

    def _mask_probs(self, merged: SampleList, features: Sequence[Tensor],
                    samples: Sequence[DetDataSample]) -> list[Tensor]:
        """In one view, for each image, mask probabilities (D, h, w) of the merged boxes, mirrored back."""
        boxes = []
        for one, sample in zip(merged, samples, strict=True):
            scale = one.pred_instances.bboxes.new_tensor(sample.get('scale_factor', (1., 1.))).repeat(2)
            boxes.append(mirror_boxes(one.pred_instances.bboxes * scale, sample, sample.img_shape))
        probs = self.module.roi_head.mask_probs(features, boxes, [one.pred_instances.labels for one in merged])
        return [mirror_maps(prob, sample) for prob, sample in zip(probs, samples, strict=True)]


def mirror_boxes(boxes: Tensor, sample: DetDataSample, shape: Sequence[int]) -> Tensor:
    """Boxes (N, 4) of an image of shape (height, width), mirrored if and as the sample was."""
    if not sample.get('flip'):
        return boxes
    x, y = MIRRORED[sample.flip_direction]
    x1, y1, x2, y2 = boxes.unbind(1)
    if x:
        x1, x2 = shape[1] - x2, shape[1] - x1
    if y:
        y1, y2 = shape[0] - y2, shape[0] - y1
    return torch.stack([x1, y1, x2, y2], dim=1)


def mirror_maps(maps: Tensor, sample: DetDataSample) -> Tensor:
    """Maps (N, h, w), mirrored if and as the sample was."""
    if not sample.get('flip'):
        return maps
    return maps.flip([dim for dim, is_mirrored in zip((2, 1), MIRRORED[sample.flip_direction], strict=True)
                      if is_mirrored])
