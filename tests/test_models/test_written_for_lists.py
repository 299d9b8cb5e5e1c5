"""Classes written for mmdetection, whose losses take lists with an entry an image, give our batched numbers."""
import copy

import pytest
import torch
from mask_rcnn import ALL_PROPOSED, ALL_SAMPLED, build, data
from mmdet.models.detectors.base import BaseDetector
from scene import small_scene

from mmdet.models.detectors.two_stage import MaskRCNN, TwoStageDetector


class ByLists(TwoStageDetector):
    """A detector that asks its heads as mmdetection's does."""

    def loss(self, batch_inputs, batch_data_samples):
        assert self.with_neck and self.with_rpn and self.with_bbox and self.with_mask
        x = self.extract_feat(batch_inputs)
        for_rpn = copy.deepcopy(batch_data_samples)
        for sample in for_rpn:
            sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
        losses, proposals = self.rpn_head.loss_and_predict(x, for_rpn, proposal_cfg=self.train_cfg.rpn_proposal)
        losses.update(self.roi_head.loss(x, proposals, batch_data_samples))
        return losses

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        x = self.extract_feat(batch_inputs)
        proposals = self.rpn_head.predict(x, batch_data_samples, rescale=False)
        results = self.roi_head.predict(x, proposals, batch_data_samples, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)


class Twice(MaskRCNN):
    """One that asks its parent."""

    def loss(self, batch_inputs, batch_data_samples):
        return {name: 2 * value for name, value in super().loss(batch_inputs, batch_data_samples).items()}


class OfItsOwn(BaseDetector):
    def __init__(self, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.conv = torch.nn.Conv2d(3, 1, 1)

    def loss(self, batch_inputs, batch_data_samples):
        boxes = [sample.gt_instances.bboxes for sample in batch_data_samples]
        return dict(loss=self.conv(batch_inputs).mean() * len(boxes))


def test_the_same_losses_and_detections():
    model = build(**ALL_SAMPLED, **ALL_PROPOSED).train()
    batch = data(*small_scene())
    with torch.no_grad():
        expected = model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
        for kind, factor in ((ByLists, 1), (Twice, 2)):
            model.__class__ = kind
            found = model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
            assert found.keys() == expected.keys()
            for name, value in found.items():
                assert value.item() == pytest.approx(factor * expected[name].item(), rel=1e-4), name
        detections = []
        for kind in (MaskRCNN, ByLists):
            model.__class__ = kind
            samples = model.eval()(**model.data_preprocessor(copy.deepcopy(batch)), mode='predict')
            detections.append([sample.pred_instances for sample in samples])
    for one, other in zip(*detections):
        torch.testing.assert_close(one.bboxes, other.bboxes)
        torch.testing.assert_close(one.scores, other.scores)


def test_a_detector_of_its_own():
    model = OfItsOwn()
    losses = model(**model.data_preprocessor(data(*small_scene()), True), mode='loss')
    assert losses['loss'].requires_grad
