"""Instance masks between the image and their boxes: targets cut out for training, predictions pasted back."""
import torch

from mmdet.ops.dispatch import kernels


def crop_masks(pixels, windows, rois, index, size, height, width):
    """Mask targets: RoIAlign (aligned, a sample a pixel) of 0/1 masks, none of which is built in full size.

    Args:
        pixels (Tensor): uint8 (P,), the windows' pixels row by row, one window after the other.
        windows (Tensor): int64 (N, 4) x1, y1, x2, y2, the part of the image each mask's pixels cover; the rest is 0.
        rois (Tensor): (R, 4) xyxy in pixels of the image, floating point.
        index (Tensor): int64 (R,), the window each RoI looks at.
        size (int): side of the targets.
        height (int), width (int): size of the image.

    Returns:
        Tensor: float32 (R, size, size), the masked share of each bin. No gradient.
    """
    if pixels.dtype != torch.uint8 or pixels.dim() != 1:
        raise ValueError(f'crop_masks: pixels must be uint8 (P,), got {pixels.dtype} {tuple(pixels.shape)}')
    if windows.dtype != torch.int64 or windows.dim() != 2 or windows.size(1) != 4:
        raise ValueError(f'crop_masks: windows must be int64 (N, 4), got {windows.dtype} {tuple(windows.shape)}')
    if rois.dim() != 2 or rois.size(1) != 4 or not rois.is_floating_point():
        raise ValueError(f'crop_masks: rois must be floating point (R, 4), got {rois.dtype} {tuple(rois.shape)}')
    if index.dtype != torch.int64 or index.shape != rois.shape[:1]:
        raise ValueError(f'crop_masks: index must be int64 ({rois.size(0)},), got {index.dtype} {tuple(index.shape)}')
    if not pixels.device == windows.device == rois.device == index.device:
        raise ValueError(f'crop_masks: pixels are on {pixels.device}, windows on {windows.device}, '
                         f'rois on {rois.device}, index on {index.device}')
    if size <= 0:
        raise ValueError(f'crop_masks: size must be positive, got {size}')
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    starts = areas.cumsum(0) - areas
    rois = rois.detach().float()
    return kernels[rois.device.type].crop_masks(pixels, windows, starts, rois, index, size, height, width)


def paste_masks(probs, boxes, height, width, threshold):
    """Pastes predicted masks into images: bilinear, sampled at pixel centres, zeros around each map.

    Args:
        probs (Tensor): (N, h, w) probabilities, floating point.
        boxes (Tensor): (N, 4) xyxy in pixels of the image, floating point. A box of no area gives an empty mask.
        height (int), width (int): size of the image.
        threshold (float): positive; a pixel belongs to the mask from this probability on.

    Returns:
        Tensor: bool (N, height, width). No gradient.
    """
    probs, boxes = _checked('paste_masks', probs, boxes, threshold)
    return kernels[probs.device.type].paste_masks(probs, boxes, height, width, threshold)


def paste_masks_as_rle(probs, boxes, height, width, threshold):
    """COCO's RLE of what paste_masks returns, which is never built: only the pixels of the boxes are computed.

    Args: those of paste_masks.

    Returns:
        list of N dicts: size [height, width] and counts, pycocotools' compressed text as a str.
    """
    probs, boxes = _checked('paste_masks_as_rle', probs, boxes, threshold)
    runs, num_runs = kernels[probs.device.type].mask_runs(probs, boxes, height, width, threshold)
    chars, num_chars = kernels['cpu'].encode_runs(runs.cpu(), num_runs.cpu(), height * width)
    text, ends = chars.numpy().tobytes().decode('ascii'), num_chars.cumsum(0).tolist()
    return [dict(size=[height, width], counts=text[end - length:end])
            for end, length in zip(ends, num_chars.tolist(), strict=True)]


def _checked(name, probs, boxes, threshold):
    """Both as float32 and without gradient."""
    if probs.dim() != 3 or boxes.shape != (probs.size(0), 4):
        raise ValueError(f'{name}: probs must be (N, h, w) and boxes (N, 4), got '
                         f'{tuple(probs.shape)} and {tuple(boxes.shape)}')
    if not probs.is_floating_point() or not boxes.is_floating_point():
        raise TypeError(f'{name}: probs and boxes must be floating point, got {probs.dtype} and {boxes.dtype}')
    if probs.device != boxes.device:
        raise ValueError(f'{name}: probs are on {probs.device}, boxes on {boxes.device}')
    if not threshold > 0:
        raise ValueError(f'{name}: threshold must be positive (all outside the boxes is 0), got {threshold}')
    return probs.detach().float(), boxes.detach().float()
