"""mmdetection's Mask R-CNN R-50-FPN as a config dict, and ways to vary and feed it in tests."""
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/mask-rcnn_r50_fpn.py'
SMALL = {'backbone.depth': 18, 'backbone.base_channels': 16, 'neck.in_channels': [16, 32, 64, 128],
         'neck.out_channels': 32, 'rpn_head.in_channels': 32, 'rpn_head.feat_channels': 32,
         'roi_head.bbox_roi_extractor.out_channels': 32, 'roi_head.bbox_head.in_channels': 32,
         'roi_head.bbox_head.fc_out_channels': 64, 'roi_head.mask_roi_extractor.out_channels': 32,
         'roi_head.mask_head.in_channels': 32, 'roi_head.mask_head.conv_out_channels': 32}
SMALL_50 = {**SMALL, 'backbone.depth': 50, 'neck.in_channels': [64, 128, 256, 512]}
ALL_SAMPLED = {'train_cfg.rpn.sampler.num': 10 ** 6, 'train_cfg.rpn.sampler.pos_fraction': 1.0,
               'train_cfg.rcnn.sampler.num': 10 ** 6, 'train_cfg.rcnn.sampler.pos_fraction': 1.0}


def config(**options) -> ConfigDict:
    """The model config without pretrained weights; `options` are merged with dots as in --cfg-options."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({'model.backbone.init_cfg': None, **{f'model.{k}': v for k, v in options.items()}})
    return cfg.model


def data(images, targets, masks=True):
    """Loader output for uint8 images (3, h, w) and dicts of boxes (G, 4), labels (G,), masks (G, h, w)."""
    samples = []
    for image, target in zip(images, targets):
        size = tuple(image.shape[1:])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(bboxes=target['boxes'], labels=target['labels'])
        if masks:
            sample.gt_instances.masks = BitmapMasks(target['masks'].numpy(), *size)
        sample.ignored_instances = InstanceData(bboxes=target['boxes'][:0])
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


# Rounding must not decide which boxes are proposed: NMS suppresses nothing, and all that is left is kept.
ALL_PROPOSED = {'train_cfg.rpn_proposal.nms.iou_threshold': 2., 'train_cfg.rpn_proposal.nms_pre': 10 ** 6,
                'train_cfg.rpn_proposal.max_per_img': 10 ** 6}


def norms(norm_cfg) -> dict:
    """Options of `build` that put this norm behind every convolution that can have one, the frozen ones included."""
    return {'backbone.norm_cfg': dict(norm_cfg, _delete_=True), 'backbone.norm_eval': False,
            'backbone.frozen_stages': -1, 'neck.norm_cfg': norm_cfg, 'roi_head.bbox_head.norm_cfg': norm_cfg,
            'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead', 'roi_head.bbox_head.conv_out_channels': 32,
            'roi_head.mask_head.norm_cfg': norm_cfg}


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build(config(**{**SMALL, **options}))
    model.init_weights()
    return model


def losses(model, images, targets, masks=True):
    return model(**model.data_preprocessor(data(images, targets, masks), True), mode='loss')


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)
