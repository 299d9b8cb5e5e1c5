"""RoIAlign (Mask R-CNN, section 3) on one feature map or on all levels of a pyramid at once."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.ops.extension import SERVED, differentiable, fake
from mmdet.ops.memory_format import is_channels_last, memory_format

MAX_SAMPLES = 1000  # a bin and axis


def roi_align(input: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0,
              sampling_ratio: int = 0, aligned: bool = True) -> Tensor:
    """Pools each RoI of one feature map to a fixed size: `multiscale_roi_align` for a single level.

    A RoI is cut into bins; a bin is the mean of bilinearly interpolated samples. Samples farther than a pixel outside
    the map are zeros, and a RoI of no area or of coordinates that are not finite gives zeros.

    Args:
        input (Tensor): (N, C, H, W): float32, float64, float16 or bfloat16 (computed in float32), contiguous or
            channels-last.
        rois (Tensor): (R, 5) image index, x1, y1, x2, y2 in pixels of the input image, floating point.
        output_size (int | tuple[int, int]): bins, or (height, width) in bins.
        spatial_scale (float): size of the map over size of the image.
        sampling_ratio (int): samples a bin and axis; 0 takes as many as the bin has pixels.
        aligned (bool): pixel i covers [i, i + 1); False keeps the older half-pixel shift and 1-pixel least size.

    Returns:
        Tensor: (R, C, height, width) in input's dtype and memory format, differentiable twice by `input`.

    Raises:
        ValueError: shapes or devices that do not fit; an image index out of range, on the CPU (on CUDA it gives NaN).
        TypeError: dtypes that do not fit.
    """
    return multiscale_roi_align([input], rois, None, output_size, [spatial_scale], sampling_ratio, aligned)


def multiscale_roi_align(features: Sequence[Tensor], rois: Tensor, levels: Tensor | None,
                         output_size: int | tuple[int, int], spatial_scales: Sequence[float], sampling_ratio: int = 0,
                         aligned: bool = True) -> Tensor:
    """Pools each RoI from its own level of a feature pyramid to a fixed size, as `roi_align` does from one map.

    Args:
        features (list[Tensor]): (N, C, H_l, W_l) of each level: float32, float64, float16 or bfloat16 (computed in
            float32), contiguous or channels-last.
        rois (Tensor): (R, 5) image index, x1, y1, x2, y2 in pixels of the input image, floating point.
        levels (Tensor or None): int64 (R,), level of each RoI; None: the only one.
        output_size (int | tuple[int, int]): bins, or (height, width) in bins.
        spatial_scales (list[float]): size of a level over size of the image.
        sampling_ratio (int), aligned (bool): as in `roi_align`.

    Returns:
        Tensor: (R, C, height, width) in dtype and memory format of the first level, differentiable twice by `features`.

    Raises:
        ValueError: shapes or devices that do not fit; an image or level index out of range, on the CPU (on CUDA it
            gives NaN). TypeError: dtypes that do not fit.
    """
    features, scales = list(features), list(map(float, spatial_scales))
    if len(features) == 0 or len(features) != len(scales):
        raise ValueError(f'roi_align: {len(features)} feature levels, {len(scales)} spatial_scales')
    if levels is not None and (levels.shape != rois.shape[:1] or levels.dtype != torch.int64
                               or levels.device != rois.device):
        raise ValueError(f'roi_align: levels must be int64 ({rois.size(0)},) on {rois.device}, '
                         f'got {levels.dtype} {tuple(levels.shape)} on {levels.device}')
    if not isinstance(output_size, (int, torch.SymInt, tuple, list)) or \
            isinstance(output_size, (tuple, list)) and len(output_size) != 2:
        raise TypeError(f'roi_align: output_size must be one or two whole numbers, got {output_size!r}')
    height, width = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    for value in (height, width, sampling_ratio):
        if not isinstance(value, (int, torch.SymInt)):
            raise TypeError('roi_align: output_size and sampling_ratio must be whole numbers, got '
                            f'{output_size} and {sampling_ratio!r}')
    if height <= 0 or width <= 0:
        raise ValueError(f'roi_align: output_size must be positive, got {output_size}')
    if sampling_ratio > MAX_SAMPLES:
        raise ValueError(f'roi_align: sampling_ratio must be at most {MAX_SAMPLES}, got {sampling_ratio}')
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
    if rois.device.type == 'cpu' and not torch.compiler.is_compiling():
        for name, values, count in (('image index', rois[:, 0], len(first)), ('level', levels, len(features))):
            if values is None or not len(values):
                continue
            least, most = map(float, values.aminmax())
            if not 0 <= least <= most < count:
                wrong = int((~((values >= 0) & (values < count))).nonzero()[0])
                raise ValueError(f'roi_align: RoI {wrong} has {name} {values[wrong].item()}, but there are {count}')
    rois = rois.to(torch.float64 if first.dtype == torch.float64 else torch.float32)
    if math.isnan(sum(scales)):
        raise ValueError(f'roi_align: spatial_scales hold NaN: {scales}')
    compute = torch.ops.mmdet.roi_align if SERVED[rois.device.type] else _slow
    return compute(features, rois, levels, scales, height, width, max(sampling_ratio, 0), bool(aligned))


def select_rois(real: Tensor, candidates: Tensor, most: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Which of a padded batch's RoIs to compute.

    On CPUs these are the real ones. On GPUs they are all candidates: the host need not wait to know their number, and
    shapes are fixed.

    Args:
        real (Tensor): bool (N,).
        candidates (Tensor): int64 (M,), among which all real ones are.
        most (int or None): of more real ones chance takes so many, each as likely as any other. None: all are taken.

    Returns:
        tuple: int64 (Q,), the chosen, in the order of the candidates, and which of these are real, bool (Q,); None
        where all are.
    """
    on_cpu = real.device.type == 'cpu'
    chosen = real.nonzero()[:, 0] if on_cpu else candidates
    if most is not None and most < len(chosen):
        chosen = _draw(real, chosen, most)
    return chosen, None if on_cpu else real[chosen]


def _draw(real, candidates, most):
    key = torch.rand(len(candidates), device=real.device) + real[candidates]  # the real ones' are above all others
    return candidates[key.topk(most).indices.sort().values]


def _slow(features, rois, levels, scales, pooled_height, pooled_width, sampling_ratio, aligned):
    import torchvision
    size = (pooled_height, pooled_width)
    # torchvision wants one dtype for both, and has no bfloat16; rois lose too much in half precision.
    wide = [feature.to(rois.dtype) for feature in features]
    if levels is None:
        levels = rois.new_zeros(rois.size(0), dtype=torch.int64)
    order = levels.argsort(stable=True)
    rois_of_levels = rois[order].split(torch.bincount(levels, minlength=len(features)).tolist())
    pooled = torch.cat([torchvision.ops.roi_align(feature, rois_of_level, size, scale, sampling_ratio, aligned)
                        for feature, rois_of_level, scale in zip(wide, rois_of_levels, scales, strict=True)])
    return pooled[order.argsort()].to(features[0].dtype)


@fake('roi_align')
def _fake(features, rois, levels, scales, pooled_height, pooled_width, sampling_ratio, aligned):
    size = (rois.size(0), features[0].size(1), pooled_height, pooled_width)
    return torch.empty(size, dtype=features[0].dtype, device=rois.device,
                       memory_format=memory_format(is_channels_last(features[0])))


@fake('roi_align_backward')
def _fake_backward(grad, rois, levels, scales, sizes, sampling_ratio, aligned, channels_last, quantum):
    dtype = grad.dtype if quantum is None or grad.device.type == 'cpu' else torch.int64
    num_images, *sides = sizes
    return [torch.empty((num_images, grad.size(1), height, width), dtype=dtype, device=grad.device,
                        memory_format=memory_format(channels_last))
            for height, width in zip(sides[::2], sides[1::2], strict=True)]


def _save(ctx, inputs, output):
    features, rois, levels, ctx.scales, _, _, ctx.sampling_ratio, ctx.aligned = inputs
    ctx.save_for_backward(rois, levels)
    ctx.sizes = [features[0].size(0), *(side for feature in features for side in feature.shape[2:])]
    ctx.channels_last = is_channels_last(features[0])


def _backward(ctx, grad):
    rois, levels = ctx.saved_tensors
    wide_grad = grad.to(rois.dtype)
    quantum = None
    if grad.is_cuda and torch.are_deterministic_algorithms_enabled():
        quantum = _quantum(wide_grad.detach())
    grads = torch.ops.mmdet.roi_align_backward(wide_grad, rois, levels, ctx.scales, ctx.sizes, ctx.sampling_ratio,
                                               ctx.aligned, ctx.channels_last, quantum)
    found = []
    while grads:  # sums in whole quanta are large: each level's are freed when its gradient is there
        sums = grads.pop(0)
        found.append(sums.to(grad.dtype) if quantum is None else
                     torch.mul(sums, quantum, out=torch.empty_like(sums, dtype=grad.dtype)))
    return found, *[None] * 7


def _quantum(grad):
    """float64 scalar: a unit so small that its rounding is lost in float32, so large that int64 holds every sum.

    A bin spreads a total weight of at most 1, so no pixel receives more than the largest |grad| times the bins.
    """
    num_rois, _, height, width = grad.shape
    largest = grad.abs().amax() if grad.numel() else grad.new_zeros(())
    return (largest.double() * (num_rois * height * width)).clamp(min=1e-280) / 2**62


def _save_for_second(ctx, inputs, output):
    grad, rois, levels, ctx.scales, _, ctx.sampling_ratio, ctx.aligned, _, _ = inputs
    ctx.save_for_backward(rois, levels)
    ctx.size = grad.shape[2:]


def _second_backward(ctx, grads):
    """RoIAlign is linear in the features: the derivative of its gradient is RoIAlign itself."""
    rois, levels = ctx.saved_tensors
    pooled = torch.ops.mmdet.roi_align(grads, rois, levels, ctx.scales, *ctx.size, ctx.sampling_ratio, ctx.aligned)
    return pooled, *[None] * 8


differentiable('roi_align', _backward, _save)
differentiable('roi_align_backward', _second_backward, _save_for_second)
