"""Detection operators as differentiable torch functions, on CPU and CUDA.

Each file holds an operator whole: signature, checks, gradient, shapes, and its slow form by PyTorch and torchvision,
which serves where the compiled extension does not. `backend()` tells which serves.
"""
from mmdet.ops.bias_relu import bias_relu
from mmdet.ops.boxes import box_area, box_iou, clip_boxes, match_boxes, to_rois
from mmdet.ops.cbn_statistics import cbn_statistics
from mmdet.ops.conv import Conv2d, conv2d, linear_rois
from mmdet.ops.crop_masks import crop_masks
from mmdet.ops.deform_conv import deform_conv2d
from mmdet.ops.extension import backend
from mmdet.ops.fold_norm import fold_norm
from mmdet.ops.group_norm import group_norm
from mmdet.ops.mask_rle import paste_masks_as_rle
from mmdet.ops.mean_patch import mean_patch
from mmdet.ops.mean_variance import mean_variance
from mmdet.ops.memory_format import as_kernels_read
from mmdet.ops.nms import batched_nms, nms, nms_images
from mmdet.ops.normalize import normalize
from mmdet.ops.paste_masks import paste_masks
from mmdet.ops.roi_align import multiscale_roi_align, roi_align, select_rois
from mmdet.ops.rows import map_rows
from mmdet.ops.scaled_sum import scaled_sum
from mmdet.ops.scatter_matrix import scatter_matrix
from mmdet.ops.soft_nms import soft_nms
from mmdet.ops.variance_slope import variance_slope
from mmdet.ops.weight_grad import conv2d_weight_grad

__all__ = ['Conv2d', 'as_kernels_read', 'backend', 'batched_nms', 'bias_relu', 'box_area', 'box_iou',
           'cbn_statistics', 'clip_boxes', 'conv2d', 'conv2d_weight_grad', 'crop_masks', 'deform_conv2d', 'fold_norm',
           'group_norm', 'linear_rois', 'map_rows', 'match_boxes', 'mean_patch', 'mean_variance',
           'multiscale_roi_align', 'nms', 'nms_images', 'normalize', 'paste_masks', 'paste_masks_as_rle', 'roi_align',
           'scaled_sum', 'scatter_matrix', 'select_rois', 'soft_nms', 'to_rois', 'variance_slope']
