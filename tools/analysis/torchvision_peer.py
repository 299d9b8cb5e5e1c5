"""torchvision's Faster R-CNN as a model of a config: the network that the config describes, of torchvision's parts."""
from functools import partial

from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import MultiScaleRoIAlign

from mmdet.registry import MODELS

NORMS = dict(BN=lambda options: nn.BatchNorm2d, GN=lambda options: partial(nn.GroupNorm, options.get('num_groups', 32)))
BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}
LEVELS = 4  # that the box head reads


class Backbone(ResNet):
    """A ResNet of `width` channels in the first stage, where torchvision's own has 64."""

    def __init__(self, blocks, width, norm_layer):
        super().__init__(BasicBlock, blocks, norm_layer=norm_layer)
        self.inplanes = width
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), norm_layer(width)
        for i, count in enumerate(blocks):
            setattr(self, f'layer{i + 1}', self._make_layer(BasicBlock, width << i, count, stride=min(i + 1, 2)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')


def as_it_is(image, target=None):
    return image, target


def detector(model):
    """torchvision's FasterRCNN for the `model` of a config: ResNet-18 or 34, FPN, convolutional box head, GN or BN."""
    rpn, roi, train, test = model.rpn_head, model.roi_head, model.train_cfg, model.test_cfg
    head, channels, norm_cfg = roi.bbox_head, model.neck.out_channels, model.backbone.norm_cfg
    norm, width, blocks = NORMS[norm_cfg.type](norm_cfg), model.backbone.base_channels, BLOCKS[model.backbone.depth]
    pyramid = BackboneWithFPN(Backbone(blocks, width, norm), {f'layer{i + 1}': str(i) for i in range(LEVELS)},
                              [width << i for i in range(LEVELS)], channels, norm_layer=norm)
    anchors = rpn.anchor_generator
    sizes = [tuple(stride * scale for scale in anchors.scales) for stride in anchors.strides]
    pool = MultiScaleRoIAlign([str(i) for i in range(LEVELS)], 7, sampling_ratio=2,
                              canonical_scale=4 * roi.bbox_roi_extractor.get('finest_scale', 56))
    peer = FasterRCNN(
        pyramid, image_mean=[0.] * 3, image_std=[1.] * 3,
        rpn_anchor_generator=AnchorGenerator(tuple(sizes), (tuple(anchors.ratios),) * len(sizes)),
        rpn_pre_nms_top_n_train=train.rpn_proposal.nms_pre, rpn_post_nms_top_n_train=train.rpn_proposal.max_per_img,
        rpn_pre_nms_top_n_test=test.rpn.nms_pre, rpn_post_nms_top_n_test=test.rpn.max_per_img,
        rpn_batch_size_per_image=train.rpn.sampler.num, rpn_positive_fraction=train.rpn.sampler.pos_fraction,
        box_roi_pool=pool, box_predictor=FastRCNNPredictor(head.fc_out_channels, head.num_classes + 1),
        box_head=FastRCNNConvFCHead((channels, 7, 7), [head.conv_out_channels] * head.num_shared_convs,
                                    [head.fc_out_channels] * head.num_shared_fcs, norm),
        box_batch_size_per_image=train.rcnn.sampler.num, box_positive_fraction=train.rcnn.sampler.pos_fraction,
        box_score_thresh=test.rcnn.score_thr, box_nms_thresh=test.rcnn.nms.iou_threshold,
        box_detections_per_img=test.rcnn.max_per_img)
    peer.transform.resize = as_it_is  # the pipeline has done it; torchvision's own _skip_resize holds in training alone
    return peer


@MODELS.register_module()
class TorchvisionFasterRCNN(BaseModel):
    """`detector(model)` with the interface of a detector here; torchvision counts classes from 1."""

    def __init__(self, model):
        super().__init__(data_preprocessor=model.data_preprocessor)
        self.detector = detector(model)

    def forward(self, inputs, data_samples, gt=None, mode='loss'):
        images = [image.contiguous() for image in inputs]
        if mode == 'loss':
            return self.detector(images, [dict(boxes=boxes[valid], labels=labels[valid] + 1) for boxes, labels, valid
                                          in zip(gt.boxes, gt.labels, gt.valid, strict=True)])
        for sample, found in zip(data_samples, self.detector(images), strict=True):
            scale = found['boxes'].new_tensor(sample.scale_factor).repeat(2)
            sample.pred_instances = InstanceData(bboxes=found['boxes'] / scale, scores=found['scores'],
                                                 labels=found['labels'] - 1)
        return data_samples
