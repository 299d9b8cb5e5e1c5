"""The small models behind golden/rcnn_family.npz: read by mmdetection 3.3 and by the tests alike."""
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict

MODELS = Path(__file__).parents[2] / 'configs/_base_/models'
WIDTHS = {2048: 128, 1024: 64, 512: 32, 256: 32}
C4 = {'rpn_head.in_channels': 64, 'roi_head.shared_head.depth': 18, 'roi_head.shared_head.stage': 1,
      'roi_head.shared_head.init_cfg': None, 'roi_head.bbox_roi_extractor.out_channels': 64,
      'roi_head.bbox_head.in_channels': 128, 'data_preprocessor.std': [58., 57., 57.]}
BY_CLASS = {f'roi_head.bbox_head.{i}.reg_class_agnostic': False for i in range(3)}
# Name of a case: file of configs/_base_/models, options.
CASES = dict(
    cascade_mask=('cascade-mask-rcnn_r50_fpn', {}),
    cascade_by_class=('cascade-mask-rcnn_r50_fpn', BY_CLASS),
    rpn=('rpn_r50_fpn', {}),
    fast=('fast-rcnn_r50_fpn', {}),
    c4=('faster-rcnn_r50-caffe-c4', C4),
    double_head=('faster-rcnn_r50_fpn', {
        'roi_head.type': 'DoubleHeadRoIHead', 'roi_head.reg_roi_scale_factor': 1.3,
        'roi_head.bbox_head.type': 'DoubleConvFCBBoxHead', 'roi_head.bbox_head.num_convs': 1,
        'roi_head.bbox_head.num_fcs': 1, 'roi_head.bbox_head.conv_out_channels': 64}),
    ohem=('faster-rcnn_r50_fpn', {'train_cfg.rcnn.sampler': dict(
        type='OHEMSampler', num=24, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True)}),
    dynamic=('faster-rcnn_r50_fpn', {
        'roi_head.type': 'DynamicRoIHead', 'roi_head.bbox_head.loss_bbox': dict(type='SmoothL1Loss', beta=1.),
        'train_cfg.rcnn.dynamic_rcnn': dict(iou_topk=5, beta_topk=3, update_iter_interval=1, initial_iou=0.4,
                                            initial_beta=1.)}),
    balanced_l1=('faster-rcnn_r50_fpn', {'roi_head.bbox_head.loss_bbox': dict(
        type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=1., loss_weight=1.)}),
    soft_nms=('fast-rcnn_r50_fpn', {'test_cfg.rcnn.nms': dict(type='soft_nms', iou_threshold=0.3)}),
    soft_nms_gaussian=('fast-rcnn_r50_fpn', {'test_cfg.rcnn.nms': dict(
        type='soft_nms', iou_threshold=0.3, method='gaussian')}),
)


def model_config(case: str) -> ConfigDict:
    """A narrow ResNet-18, which proposes and samples all there is up to 60 boxes: chance decides nothing."""
    file, options = CASES[case]
    cfg = Config.fromfile(MODELS / f'{file}.py').model
    _narrow(cfg)
    _no_chance(cfg)
    options = {'backbone.depth': 18, 'backbone.base_channels': 16, 'backbone.init_cfg': None, **options}
    whole = Config(dict(model=cfg))
    whole.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    if whole.model.get('neck'):
        whole.model.neck.in_channels = [16, 32, 64, 128]
    return whole.model


def proposals() -> list[torch.Tensor]:
    """Boxes (P, 4) of each of the two images of small_scene, in pixels, for models that have no RPN."""
    boxes = []
    for seed, (height, width) in enumerate(((64, 80), (56, 72))):
        g = np.random.default_rng(seed)
        corners = g.uniform(0, 1, (50 - 5 * seed, 2, 2)) * [width, height]
        boxes.append(torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 2], 1).astype(np.float32)))
    return boxes


def _narrow(node) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if str(key).endswith('channels') and isinstance(value, int):
            node[key] = WIDTHS.get(value, value)
        elif key == 'sampler':
            value.update(num=10 ** 6, pos_fraction=1.0)
        elif isinstance(value, (dict, list)):
            _narrow(value)


def _no_chance(cfg) -> None:
    for part in (cfg.train_cfg.get('rpn_proposal'), cfg.test_cfg.get('rpn')):
        if part:
            part.update(max_per_img=60, nms_pre=200)
    if 'rcnn' in cfg.test_cfg:
        cfg.test_cfg.rcnn.max_per_img = 30
