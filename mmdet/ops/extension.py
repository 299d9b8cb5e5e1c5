"""Loads the compiled operators and gives them what PyTorch needs besides kernels: shapes and gradients."""
from pathlib import Path

import torch


def load():
    """Returns the namespace of the compiled operators; ImportError or OSError where there are none."""
    libraries = sorted(Path(__file__).parent.glob('_C.*so'))
    if not libraries:
        raise ImportError('it was not built: no C++ compiler at install time?')
    torch.ops.load_library(libraries[0])
    try:
        _register_shapes()
    except RuntimeError as error:
        raise ImportError(f'{libraries[0]} was built from older sources ({error}). To build it anew: '
                          'pip install --no-build-isolation -e .') from None
    torch.library.register_autograd('mmdet::roi_align', _backward, setup_context=_save_for_backward)
    torch.library.register_autograd('mmdet::roi_align_backward', _double_backward,
                                    setup_context=_save_for_double_backward)
    torch.library.register_autograd('mmdet::conv_3x3', _conv_backward, setup_context=_save_conv)
    torch.library.register_autograd('mmdet::weight_grad_3x3', _weight_grad_backward, setup_context=_save_weight_grad)
    return torch.ops.mmdet


def has_cuda():
    """Whether the loaded extension was built with CUDA kernels."""
    return torch._C._dispatch_has_kernel_for_dispatch_key('mmdet::nms', 'CUDA')


def _memory_format(channels_last):
    return torch.channels_last if channels_last else torch.contiguous_format


def _is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _register_shapes():
    @torch.library.register_fake('mmdet::roi_align')
    def roi_align(features, rois, levels, scales, pooled_height, pooled_width, sampling_ratio, aligned):
        size = (rois.size(0), features[0].size(1), pooled_height, pooled_width)
        return torch.empty(size, dtype=features[0].dtype, device=rois.device,
                           memory_format=_memory_format(_is_channels_last(features[0])))

    @torch.library.register_fake('mmdet::roi_align_backward')
    def roi_align_backward(grad, rois, levels, scales, sizes, sampling_ratio, aligned, channels_last, quantum):
        dtype = grad.dtype if quantum is None or grad.device.type == 'cpu' else torch.int64
        num_images, *sides = sizes
        return [torch.empty((num_images, grad.size(1), height, width), dtype=dtype, device=grad.device,
                            memory_format=_memory_format(channels_last))
                for height, width in zip(sides[::2], sides[1::2], strict=True)]

    @torch.library.register_fake('mmdet::nms')
    def nms(boxes, order, groups, counts, iou_threshold, max_keep):
        return order.new_empty((boxes.size(0), max_keep))

    @torch.library.register_fake('mmdet::crop_masks')
    def crop_masks(pixels, windows, starts, rois, index, size, height, width):
        return rois.new_empty((rois.size(0), size, size))

    @torch.library.register_fake('mmdet::paste_masks')
    def paste_masks(probs, boxes, height, width, threshold):
        return probs.new_empty((probs.size(0), height, width), dtype=torch.bool)

    @torch.library.register_fake('mmdet::mask_runs')
    def mask_runs(probs, boxes, height, width, threshold):
        total = torch.library.get_ctx().new_dynamic_size()
        return (probs.new_empty((total, 2), dtype=torch.int64),
                probs.new_empty((probs.size(0),), dtype=torch.int64))

    @torch.library.register_fake('mmdet::encode_runs')
    def encode_runs(runs, num_runs, num_pixels):
        num_chars = torch.library.get_ctx().new_dynamic_size()
        return runs.new_empty((num_chars,), dtype=torch.uint8), torch.empty_like(num_runs)

    @torch.library.register_fake('mmdet::conv_3x3')
    def conv_3x3(x, weight, bias, pad_y, pad_x, transposed):
        sign = -1 if transposed else 1
        size = (x.size(0), weight.size(1 if transposed else 0), x.size(2) + sign * (2 * pad_y - 2),
                x.size(3) + sign * (2 * pad_x - 2))
        return torch.empty(size, device=x.device, memory_format=torch.channels_last)

    @torch.library.register_fake('mmdet::weight_grad_3x3')
    def weight_grad_3x3(x, grad, offset, pad_y, pad_x, channels_last, tile=4, scale=1.):
        return torch.empty((grad.size(1), x.size(1), 3, 3), device=x.device,
                           memory_format=_memory_format(channels_last))

    @torch.library.register_fake('mmdet::scatter_matrix')
    def scatter_matrix(x, mean):
        return torch.empty((x.size(1), x.size(1)), device=x.device)

    @torch.library.register_fake('mmdet::mean_patch')
    def mean_patch(x, kernel_height, kernel_width, pad_y, pad_x):
        dtype = torch.promote_types(x.dtype, torch.float32)
        return torch.empty((x.size(1), kernel_height, kernel_width), dtype=dtype, device=x.device)

    @torch.library.register_fake('mmdet::scaled_sum')
    def scaled_sum(a, b, scale_a, scale_b, offset):
        return torch.empty_like(a)

    @torch.library.register_fake('mmdet::cbn_statistics')
    def cbn_statistics(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope, own_mean, own_var,
                       first, count):
        return torch.empty_like(own_mean), torch.empty_like(own_var)


def _save_for_backward(ctx, inputs, output):
    features, rois, levels, ctx.scales, _, _, ctx.sampling_ratio, ctx.aligned = inputs
    ctx.save_for_backward(rois, levels)
    ctx.sizes = [features[0].size(0), *(side for feature in features for side in feature.shape[2:])]
    ctx.channels_last = _is_channels_last(features[0])


def _backward(ctx, grad):
    rois, levels = ctx.saved_tensors
    wide_grad = grad.to(rois.dtype)
    quantum = None
    if grad.is_cuda and torch.are_deterministic_algorithms_enabled():
        quantum = _quantum(wide_grad)
    grads = torch.ops.mmdet.roi_align_backward(wide_grad, rois, levels, ctx.scales, ctx.sizes, ctx.sampling_ratio,
                                               ctx.aligned, ctx.channels_last, quantum)
    if quantum is not None:
        grads = [level_grad * quantum for level_grad in grads]
    return [level_grad.to(grad.dtype) for level_grad in grads], *[None] * 7


def _quantum(grad):
    """float64 scalar: a unit so small that its rounding is lost in float32, so large that int64 holds every sum.

    A bin spreads a total weight of at most 1, so no pixel receives more than the largest |grad| times the bins.
    """
    num_rois, _, height, width = grad.shape
    largest = grad.abs().amax() if grad.numel() else grad.new_zeros(())
    return (largest.double() * (num_rois * height * width)).clamp(min=1e-280) / 2**62


def _save_for_double_backward(ctx, inputs, output):
    grad, rois, levels, ctx.scales, _, ctx.sampling_ratio, ctx.aligned, _, _ = inputs
    ctx.save_for_backward(rois, levels)
    ctx.size = grad.shape[2:]


def _double_backward(ctx, grads):
    """RoIAlign is linear in the features: the derivative of its gradient is RoIAlign itself."""
    rois, levels = ctx.saved_tensors
    pooled = torch.ops.mmdet.roi_align(grads, rois, levels, ctx.scales, *ctx.size, ctx.sampling_ratio, ctx.aligned)
    return pooled, *[None] * 8


def _save_conv(ctx, inputs, output):
    x, weight, _, *ctx.options = inputs
    ctx.save_for_backward(x, weight)


def _conv_backward(ctx, grad):
    *padding, transposed = ctx.options
    return *conv_3x3_backward(grad, *ctx.saved_tensors, padding, transposed, ctx.needs_input_grad[:3]), *[None] * 3


def conv_3x3_backward(grad, x, weight, padding, transposed, wants):
    """The gradients of conv_3x3's input, weights and bias, or None where `wants` is false."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x = grad_weight = None
    if wants[0]:
        grad_x = torch.ops.mmdet.conv_3x3(grad, weight, None, *padding, not transposed)
    if wants[1]:
        grad_weight = torch.ops.mmdet.weight_grad_3x3(*((grad, x) if transposed else (x, grad)), None, *padding,
                                                      _is_channels_last(weight))
    return grad_x, grad_weight, grad.sum((0, 2, 3)) if wants[2] else None


def _save_weight_grad(ctx, inputs, output):
    x, grad, offset, *ctx.padding, _, _, scale = inputs
    ctx.save_for_backward(x, grad)
    ctx.is_plain = offset is None and scale == 1


def _weight_grad_backward(ctx, grad):
    """It is the output's gradient times the convolution of x, so linear in both."""
    x, output_grad = ctx.saved_tensors
    if not ctx.is_plain or x.dtype != torch.float32 or output_grad.dtype != torch.float32:
        raise RuntimeError('weight_grad_3x3 has gradients only in float32, without an offset or a scale')
    return (torch.ops.mmdet.conv_3x3(output_grad, grad, None, *ctx.padding, True),
            torch.ops.mmdet.conv_3x3(x, grad, None, *ctx.padding, False), *[None] * 6)
