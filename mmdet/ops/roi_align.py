"""RoIAlign (Mask R-CNN, section 3) on one feature map or on all levels of a pyramid at once."""
import torch

from mmdet.ops.dispatch import kernels


def roi_align(input, rois, output_size, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    """Pools each RoI of one feature map to a fixed size: `multiscale_roi_align` for a single level."""
    return _roi_align([input], rois, None, output_size, [spatial_scale], sampling_ratio, aligned)


def multiscale_roi_align(features, rois, levels, output_size, spatial_scales, sampling_ratio=0, aligned=True):
    """Pools each RoI from its own level of a feature pyramid to a fixed size.

    A RoI is cut into bins; a bin is the mean of bilinearly interpolated samples. Samples farther than a pixel outside
    the map are zeros, and a RoI of no area or of coordinates that are not finite gives zeros.

    Args:
        features (list[Tensor]): (N, C, H_l, W_l) of each level: float32, float64, float16 or bfloat16 (computed in
            float32), contiguous or channels-last. The output has the dtype and memory format of the first.
        rois (Tensor): (R, 5) image index, x1, y1, x2, y2 in pixels of the input image, floating point.
        levels (Tensor): int64 (R,), level of each RoI.
        output_size (int | tuple[int, int]): bins, or (height, width) in bins.
        spatial_scales (list[float]): size of a level over size of the image.
        sampling_ratio (int): samples a bin and axis; 0 takes as many as the bin has pixels.
        aligned (bool): pixel i covers [i, i + 1); False keeps the older half-pixel shift and 1-pixel least size.

    Returns:
        Tensor: (R, C, height, width). An image or level index out of range raises on CPU and gives NaN on CUDA.
    """
    if len(features) == 0 or len(features) != len(spatial_scales):
        raise ValueError(f'roi_align: {len(features)} feature levels, {len(spatial_scales)} spatial_scales')
    if levels.shape != rois.shape[:1] or levels.dtype != torch.int64 or levels.device != rois.device:
        raise ValueError(f'roi_align: levels must be int64 ({rois.size(0)},) on {rois.device}, '
                         f'got {levels.dtype} {tuple(levels.shape)} on {levels.device}')
    return _roi_align(list(features), rois, levels, output_size, list(spatial_scales), sampling_ratio, aligned)


def _roi_align(features, rois, levels, output_size, spatial_scales, sampling_ratio, aligned):
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    if height <= 0 or width <= 0:
        raise ValueError(f'roi_align: output_size must be positive, got {output_size}')
    if rois.dim() != 2 or rois.size(1) != 5 or not rois.is_floating_point():
        raise ValueError(f'roi_align: rois must be floating point (R, 5), got {rois.dtype} {tuple(rois.shape)}')
    first = features[0]
    for feature in features:
        if feature.dim() != 4 or feature.shape[:2] != first.shape[:2]:
            raise ValueError('roi_align: features must be (N, C, H, W) of one N and C, got '
                             f'{[tuple(feature.shape) for feature in features]}')
        if feature.dtype != first.dtype or not feature.is_floating_point():
            raise TypeError('roi_align: features must be of one floating-point dtype, got '
                            f'{[feature.dtype for feature in features]}')
        if feature.device != rois.device:
            raise ValueError(f'roi_align: features are on {feature.device}, rois on {rois.device}')
    rois = rois.to(torch.float64 if first.dtype == torch.float64 else torch.float32)
    scales = [float(scale) for scale in spatial_scales]
    return kernels[rois.device.type].roi_align(features, rois, levels, scales, height, width, max(sampling_ratio, 0),
                                               aligned)
