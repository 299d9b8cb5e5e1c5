"""Mask targets, cut out of the image at their RoIs."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.ops.extension import SERVED, fake


def crop_masks(pixels: Tensor, windows: Tensor, rois: Tensor, index: Tensor, size: int, height: int,
               width: int) -> Tensor:
    """Mask targets: RoIAlign (aligned, a sample a pixel) of 0/1 masks, none of which is built in full size.

    Args:
        pixels (Tensor): uint8 (P,), the windows' pixels row by row, one window after the other.
        windows (Tensor): int64 (N, 4) x1, y1, x2, y2, the part of the image each mask's pixels cover; the rest is 0.
        rois (Tensor): (R, 4) xyxy in pixels of the image, floating point.
        index (Tensor): int64 (R,), the window each RoI looks at.
        size (int): side of the targets.
        height (int), width (int): size of the image.

    Returns:
        Tensor: float32 (R, size, size), the masked share of each bin, from 0 to 1. No gradient.

    Raises:
        ValueError: shapes, dtypes, sizes or devices that do not fit; on the CPU also windows outside the image or with
            more pixels than given, an index out of range. TypeError: sizes that are no whole numbers.
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
    for value in (size, height, width):
        if not isinstance(value, (int, torch.SymInt)):
            raise TypeError(f'crop_masks: size, height and width must be whole numbers, got {size}, {height}, {width}')
    if size <= 0:
        raise ValueError(f'crop_masks: size must be positive, got {size}')
    if height < 0 or width < 0:
        raise ValueError(f'crop_masks: height and width must not be negative, got {height} and {width}')
    if windows.device.type == 'cpu' and not torch.compiler.is_compiling():
        sides, limits = windows[:, 2:] - windows[:, :2], windows.new_tensor([width, height])
        inside = ((windows[:, :2] >= 0) & (sides >= 0) & (windows[:, 2:] <= limits)).all(1)
        if not inside.all():
            wrong = int((~inside).nonzero()[0])
            raise ValueError(f'crop_masks: window {wrong} {tuple(windows[wrong].tolist())} does not lie in an image of '
                             f'{height} x {width}')
        if sides.prod(1).sum() > len(pixels):
            raise ValueError(f'crop_masks: the windows hold more than the {len(pixels)} pixels given')
        outside = (index < 0) | (index >= len(windows))
        if outside.any():
            wrong = int(outside.nonzero()[0])
            raise ValueError(f'crop_masks: RoI {wrong} has index {int(index[wrong])}, but there are {len(windows)} '
                             'windows')
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    starts = areas.cumsum(0) - areas
    rois = rois.detach().float()
    compute = torch.ops.mmdet.crop_masks if SERVED[rois.device.type] else _slow
    return compute(pixels, windows, starts, rois, index, size, height, width)


def _slow(pixels, windows, starts, rois, index, size, height, width):
    import torchvision
    crops = rois.new_zeros((rois.size(0), size, size))
    for mask in index.unique().tolist():
        x1, y1, x2, y2 = windows[mask].tolist()
        if x1 == x2 or y1 == y2:
            continue
        start, shape = int(starts[mask]), (y2 - y1, x2 - x1)
        window = pixels[start:start + shape[0] * shape[1]].view(1, 1, *shape).to(rois.dtype)
        # A ring of background, cut at the image's edge: beyond it RoIAlign reads zeros either way.
        left, top, right, bottom = min(x1, 1), min(y1, 1), min(width - x2, 1), min(height - y2, 1)
        window = F.pad(window, (left, right, top, bottom))
        members = (index == mask).nonzero().squeeze(1)
        origin = rois.new_tensor([x1 - left, y1 - top])
        crops[members] = torchvision.ops.roi_align(
            window, [rois[members] - origin.repeat(2)], size, 1.0, 0, True).squeeze(1)
    return crops


@fake('crop_masks')
def _fake(pixels, windows, starts, rois, index, size, height, width):
    return rois.new_empty((rois.size(0), size, size))
