"""What the keys of a config may hold: the dicts without a `type`, which no class checks, and the ranges of numbers."""
import inspect
from typing import NamedTuple

from torch.utils.data import DataLoader

NMS = ('type', 'iou_threshold', 'iou_thr', 'class_agnostic', 'offset', 'split_thr', 'max_num', 'score_threshold',
       'sigma', 'min_score', 'method')
PROPOSALS = ('nms_pre', 'nms_post', 'max_num', 'max_per_img', 'nms', 'nms_thr', 'min_bbox_size', 'nms_across_levels',
             'score_thr')
MULTS = ('lr_mult', 'decay_mult', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult',
         'dcn_offset_lr_mult', 'flat_decay_mult')
# Dotted places, `*` for any one part, in which only these keys are known. Those that mmdetection 3.x knows and that
# have no effect here are among them.
KEYS: dict[str, tuple[str, ...]] = {
    'model.train_cfg': ('rpn', 'rpn_proposal', 'rcnn'),
    'model.train_cfg.rpn': ('assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug'),
    'model.train_cfg.rpn_proposal': PROPOSALS,
    'model.train_cfg.rcnn': ('assigner', 'sampler', 'pos_weight', 'debug', 'mask_size', 'mask_capacity',
                             'mask_thr_binary', 'dynamic_rcnn'),
    'model.train_cfg.rcnn.[0-9]': ('assigner', 'sampler', 'pos_weight', 'debug', 'mask_size',  # of a cascade
                                   'mask_capacity'),
    'model.test_cfg': ('rpn', 'rcnn'),
    'model.test_cfg.rpn': PROPOSALS,
    'model.test_cfg.rcnn': ('score_thr', 'nms', 'max_per_img', 'mask_thr_binary', 'min_bbox_size'),
    'model.train_cfg.rpn_proposal.nms': NMS, 'model.test_cfg.rpn.nms': NMS, 'model.test_cfg.rcnn.nms': NMS,
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads'),
    'env_cfg.dist_cfg': ('backend', 'timeout', 'port', 'init_backend'),
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'optim_wrapper.paramwise_cfg': ('custom_keys', 'bypass_duplicate', 'num_layers', 'decay_rate', 'decay_type',
                                    *MULTS),
    'optim_wrapper.paramwise_cfg.custom_keys.*': MULTS,
    'optim_wrapper.clip_grad': ('type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'),
    **{f'{name}_dataloader': ('num_batch_per_epoch', *inspect.signature(DataLoader).parameters)
       for name in ('train', 'val', 'test')},
}
# The same of a key anywhere.
ANYWHERE = {
    'filter_cfg': ('filter_empty_gt', 'min_size', 'bbox_min_size'),
    'metainfo': ('classes', 'palette', 'dataset_type', 'task_name', 'CLASSES', 'PALETTE'),
}

# What the Runner builds from a dict, or from None; an evaluator also from a list.
PARTS: dict[str, tuple[type, ...]] = {
    **{f'{name}_{part}': (dict,) for name in ('train', 'val', 'test') for part in ('cfg', 'dataloader')},
    **dict.fromkeys(('optim_wrapper', 'default_hooks', 'env_cfg', 'randomness', 'visualizer', 'log_processor',
                     'model_wrapper_cfg'), (dict,)),
    **dict.fromkeys(('val_evaluator', 'test_evaluator', 'param_scheduler'), (dict, list, tuple)),
    **dict.fromkeys(('custom_hooks', 'vis_backends'), (list, tuple)),
}


class Range(NamedTuple):
    """Numbers from `least` to `most`, or lists of them; whole: 2, not 2.0; above: more than `least`."""
    least: float = -float('inf')
    most: float = float('inf')
    whole: bool = False
    above: bool = False
    none: bool = False      # None, too
    also: tuple = ()        # these, too

    def holds(self, value: object) -> bool:
        if isinstance(value, (list, tuple)):
            return len(value) > 0 and all(self.holds(part) for part in value)
        if value is None or isinstance(value, (bool, str)):
            return value is None and self.none or value in self.also
        if not isinstance(value, int if self.whole else (int, float)) or abs(value) >= 1e300:
            return False
        return value in self.also or self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        kind = 'a whole number' if self.whole else 'a number'
        if self.least > -1e300 and self.most < 1e300:
            kind += f' from {self.least} to {self.most}'
        elif self.least > -1e300:
            kind += f' {"above" if self.above else "of at least"} {self.least}'
        return ' or '.join([kind, *map(repr, self.also)] + ['None'] * self.none)


SHARE, POSITIVE, COUNT = Range(0, 1), Range(0, above=True), Range(1, whole=True)
NOT_NEGATIVE, COUNT_OR_ZERO = Range(0), Range(0, whole=True)
# Numbers by the end of their dotted place. An end that begins with a type's name is of dicts of this type.
NUMBERS: dict[str, Range] = {
    'test_cfg.rcnn.score_thr': SHARE, 'test_cfg.rcnn.mask_thr_binary': Range(0, 1, above=True),
    'nms.iou_threshold': SHARE, 'nms.offset': Range(0, 1, whole=True),
    'test_cfg.rcnn.max_per_img': Range(1, whole=True, also=(-1,)), 'test_cfg.rpn.max_per_img': COUNT,
    'rpn_proposal.max_per_img': COUNT, 'rpn.nms_pre': Range(-1, whole=True),
    'rpn_proposal.nms_pre': Range(-1, whole=True),
    'rpn.min_bbox_size': Range(), 'rpn_proposal.min_bbox_size': Range(), 'rcnn.mask_size': COUNT,
    'mask_capacity': Range(1, whole=True, none=True),
    'rpn.allowed_border': Range(), 'rpn.pos_weight': Range(), 'rcnn.pos_weight': Range(),
    'MaxIoUAssigner.pos_iou_thr': SHARE, 'MaxIoUAssigner.neg_iou_thr': SHARE, 'MaxIoUAssigner.min_pos_iou': SHARE,
    'MaxIoUAssigner.ignore_iof_thr': Range(-1, 1), 'sampler.num': COUNT, 'sampler.pos_fraction': SHARE,
    'sampler.neg_pos_ub': Range(-1), 'IoUBalancedNegSampler.floor_fraction': SHARE,
    'IoUBalancedNegSampler.num_bins': COUNT, 'roi_head.reg_roi_scale_factor': POSITIVE,
    'dynamic_rcnn.iou_topk': COUNT, 'dynamic_rcnn.beta_topk': COUNT, 'dynamic_rcnn.update_iter_interval': COUNT,
    'nms.sigma': POSITIVE, 'nms.min_score': SHARE, 'BalancedL1Loss.beta': POSITIVE, 'BalancedL1Loss.alpha': POSITIVE,
    'AnchorGenerator.scales': Range(0, above=True, none=True), 'AnchorGenerator.ratios': POSITIVE,
    'AnchorGenerator.strides': COUNT, 'AnchorGenerator.base_sizes': Range(0, above=True, none=True),
    'AnchorGenerator.octave_base_scale': Range(0, above=True, none=True),
    'AnchorGenerator.scales_per_octave': Range(1, whole=True, none=True), 'AnchorGenerator.center_offset': Range(),
    'DeltaXYWHBBoxCoder.target_stds': POSITIVE, 'DeltaXYWHBBoxCoder.target_means': Range(-1e9, 1e9),
    'RoIAlign.output_size': COUNT, 'RoIAlign.sampling_ratio': Range(-1, 1000, whole=True),
    'roi_extractor.featmap_strides': COUNT, 'roi_extractor.out_channels': COUNT,
    'loss_weight': Range(0, 1e9), 'SmoothL1Loss.beta': POSITIVE,
    'num_classes': COUNT, 'in_channels': COUNT, 'out_channels': COUNT, 'feat_channels': COUNT, 'base_channels': COUNT,
    'stem_channels': COUNT, 'conv_out_channels': COUNT, 'fc_out_channels': COUNT, 'num_outs': COUNT,
    'num_convs': COUNT_OR_ZERO, 'num_fcs': COUNT_OR_ZERO, 'roi_feat_size': COUNT,
    'frozen_stages': Range(-1, 4, whole=True),
    'backbone.num_stages': Range(1, 4, whole=True), 'roi_head.num_stages': COUNT,
    'roi_head.stage_loss_weights': Range(0, 1e9), 'out_indices': Range(0, 3, whole=True),
    'norm_cfg.num_groups': COUNT, 'norm_cfg.eps': Range(0, 1), 'norm_cfg.momentum': Range(0, 1, none=True),
    'norm_cfg.buffer_num': COUNT_OR_ZERO, 'norm_cfg.burnin': NOT_NEGATIVE, 'norm_cfg.slope_stride': COUNT,
    'norm_cfg.burnin_iters': Range(0, whole=True, none=True),
    'DetDataPreprocessor.mean': Range(-1e9, 1e9, none=True), 'DetDataPreprocessor.std': Range(0, above=True, none=True),
    'DetDataPreprocessor.pad_size_divisor': COUNT, 'DetDataPreprocessor.pad_value': Range(-1e9, 1e9),
    'Resize.scale': Range(1, none=True), 'RandomChoiceResize.scales': Range(1), 'RandomResize.scale': Range(1),
    'Resize.scale_factor': Range(0, above=True, none=True), 'RandomFlip.prob': SHARE, 'RandomCrop.crop_size': POSITIVE,
    'Pad.size_divisor': Range(1, whole=True, none=True),
    'train_cfg.max_epochs': COUNT, 'train_cfg.max_iters': COUNT, 'train_cfg.val_interval': COUNT,
    'train_cfg.val_begin': COUNT_OR_ZERO,
    '*_dataloader.batch_size': COUNT, '*_dataloader.num_workers': COUNT_OR_ZERO,
    '*_dataloader.prefetch_factor': Range(1, whole=True, none=True), '*_dataloader.timeout': NOT_NEGATIVE,
    'dataset.indices': Range(0, whole=True, none=True), 'RepeatDataset.times': COUNT,
    'ClassBalancedDataset.oversample_thr': POSITIVE, 'filter_cfg.min_size': NOT_NEGATIVE,
    'optimizer.lr': NOT_NEGATIVE, 'optimizer.momentum': Range(0, 1), 'optimizer.weight_decay': NOT_NEGATIVE,
    'optimizer.dampening': NOT_NEGATIVE, 'optimizer.betas': Range(0, 1), 'optimizer.eps': Range(0, none=True),
    'optim_wrapper.accumulative_counts': COUNT, 'clip_grad.max_norm': POSITIVE, 'clip_grad.norm_type': POSITIVE,
    'optim_wrapper.loss_scale': Range(0, above=True, also=('dynamic',)),
    **{f'paramwise_cfg.{name}': NOT_NEGATIVE for name in MULTS}, 'custom_keys.*.lr_mult': NOT_NEGATIVE,
    'custom_keys.*.decay_mult': NOT_NEGATIVE, 'paramwise_cfg.decay_rate': Range(0, 1, above=True),
    'paramwise_cfg.num_layers': COUNT,
    'LinearLR.start_factor': Range(0, 1, above=True), 'LinearLR.end_factor': Range(0, 1), 'MultiStepLR.gamma': POSITIVE,
    'StepLR.gamma': POSITIVE, 'StepLR.step_size': COUNT, 'MultiStepLR.milestones': COUNT_OR_ZERO,
    'param_scheduler.*.begin': NOT_NEGATIVE, 'param_scheduler.*.end': POSITIVE,
    'LoggerHook.interval': COUNT, 'CheckpointHook.interval': Range(1, whole=True, also=(-1,)),
    'CheckpointHook.max_keep_ckpts': Range(-1, whole=True), 'EMAHook.momentum': Range(0, 1),
    'DetVisualizationHook.interval': COUNT, 'DetVisualizationHook.score_thr': SHARE, 'log_processor.window_size': COUNT,
    'auto_scale_lr.base_batch_size': COUNT, 'randomness.seed': Range(0, 2**32 - 1, whole=True, none=True),
    'mp_cfg.opencv_num_threads': Range(-1, whole=True),
    'dist_cfg.timeout': POSITIVE, 'dist_cfg.port': Range(1, 65535, whole=True, none=True),
    'CocoMetric.proposal_nums': COUNT, 'CocoMetric.iou_thrs': Range(0, 1, none=True),
}
