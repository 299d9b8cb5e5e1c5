"""Detection operators as differentiable torch functions, on CPU and CUDA.

The compiled extension serves where it was built, torchvision.ops elsewhere: `backend()` tells which.
"""
from mmdet.ops.cbn import cbn_statistics
from mmdet.ops.dispatch import backend
from mmdet.ops.masks import crop_masks, paste_masks, paste_masks_as_rle
from mmdet.ops.mean_patch import mean_patch
from mmdet.ops.nms import batched_nms, nms, nms_images
from mmdet.ops.roi_align import multiscale_roi_align, roi_align
from mmdet.ops.scaled_sum import scaled_sum
from mmdet.ops.scatter_matrix import scatter_matrix
from mmdet.ops.weight_grad import conv2d_weight_grad

__all__ = ['backend', 'batched_nms', 'cbn_statistics', 'conv2d_weight_grad', 'crop_masks', 'mean_patch',
           'multiscale_roi_align', 'nms', 'nms_images', 'paste_masks', 'paste_masks_as_rle', 'roi_align', 'scaled_sum',
           'scatter_matrix']
