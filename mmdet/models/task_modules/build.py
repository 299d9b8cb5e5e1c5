"""Task modules by their configs, under mmdetection's names."""
from mmdet.registry import TASK_UTILS

build_assigner = build_sampler = build_bbox_coder = build_prior_generator = build_anchor_generator = \
    build_iou_calculator = TASK_UTILS.build
