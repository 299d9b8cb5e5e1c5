# ruff: noqa: I001
"""A config that imports its types, as mmengine's new style has it."""
from mmcv.ops import RoIAlign, nms
from mmdet.models.detectors.faster_rcnn import FasterRCNN
from mmdet.models.losses.cross_entropy_loss import CrossEntropyLoss
from mmdet.models.roi_heads.bbox_heads.convfc_bbox_head import Shared2FCBBoxHead
from mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor import SingleRoIExtractor
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.optim.optimizer import OptimWrapper
from torch.nn import BatchNorm2d
from torch.optim import SGD

from mmdet.models.backbones.resnet import ResNet

model = dict(
    type=FasterRCNN,
    backbone=dict(type=ResNet, norm_cfg=dict(type=BatchNorm2d, requires_grad=True)),
    roi_head=dict(
        bbox_roi_extractor=dict(type=SingleRoIExtractor, roi_layer=dict(type=RoIAlign, output_size=7)),
        bbox_head=dict(type=Shared2FCBBoxHead, loss_cls=dict(type=CrossEntropyLoss, use_sigmoid=False))),
    train_cfg=dict(rcnn=dict(sampler=dict(type=RandomSampler, num=512))),
    test_cfg=dict(rcnn=dict(nms=dict(type=nms, iou_threshold=0.5))))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02))
