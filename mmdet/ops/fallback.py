"""The extension's operators by torchvision.ops and plain PyTorch, for installs without a compiler.

Same signatures and results as the schemas in csrc/ops.cpp; slower, and some wait for the device.
"""
import torch
import torchvision
from pycocotools import mask as mask_api


def roi_align(features, rois, levels, scales, pooled_height, pooled_width, sampling_ratio, aligned):
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


def nms(boxes, order, groups, counts, iou_threshold, max_keep):
    keep = order.new_full((boxes.size(0), max_keep), -1)
    for image, count in enumerate(counts.tolist()):
        candidates = order[image, :count]
        ranks = torch.arange(count, 0, -1, dtype=torch.float64, device=boxes.device).to(boxes.dtype)
        suppressed = torch.ones(count, dtype=torch.bool, device=boxes.device)
        image_groups = groups[image, candidates]
        for group in image_groups.unique():
            members = (image_groups == group).nonzero().squeeze(1)
            survivors = torchvision.ops.nms(boxes[image, candidates[members]], ranks[members], iou_threshold)
            suppressed[members[survivors]] = False
        kept = candidates[~suppressed][:max_keep]
        keep[image, :kept.numel()] = kept
    return keep


def crop_masks(pixels, windows, starts, rois, index, size, height, width):
    crops = rois.new_zeros((rois.size(0), size, size))
    for mask in index.unique().tolist():
        x1, y1, x2, y2 = windows[mask].tolist()
        if x1 == x2 or y1 == y2:
            continue
        start, shape = int(starts[mask]), (y2 - y1, x2 - x1)
        window = pixels[start:start + shape[0] * shape[1]].view(1, 1, *shape).to(rois.dtype)
        # A ring of background, cut at the image's edge: beyond it RoIAlign reads zeros either way.
        left, top, right, bottom = min(x1, 1), min(y1, 1), min(width - x2, 1), min(height - y2, 1)
        window = torch.nn.functional.pad(window, (left, right, top, bottom))
        members = (index == mask).nonzero().squeeze(1)
        origin = rois.new_tensor([x1 - left, y1 - top])
        crops[members] = torchvision.ops.roi_align(
            window, [rois[members] - origin.repeat(2)], size, 1.0, 0, True).squeeze(1)
    return crops


def paste_masks(probs, boxes, height, width, threshold):
    masks = torch.zeros((probs.size(0), height, width), dtype=torch.bool, device=probs.device)
    for number, left, top, piece in _pasted_pieces(probs, boxes, height, width, threshold):
        masks[number, top:top + piece.size(0), left:left + piece.size(1)] = piece
    return masks


def mask_runs(probs, boxes, height, width, threshold):
    runs = [boxes.new_empty((0, 2), dtype=torch.int64)] * probs.size(0)
    for number, left, top, piece in _pasted_pieces(probs, boxes, height, width, threshold):
        edges = torch.nn.functional.pad(piece.T.to(torch.int8).contiguous(), (1, 1)).diff(dim=1)
        starts, stops = edges.eq(1).nonzero(), edges.eq(-1).nonzero()
        runs[number] = torch.stack([(left + ends[:, 0]) * height + top + ends[:, 1] for ends in (starts, stops)], 1)
    num_runs = torch.tensor([len(of_mask) for of_mask in runs], dtype=torch.int64, device=probs.device)
    return torch.cat(runs) if runs else boxes.new_empty((0, 2), dtype=torch.int64), num_runs


def _pasted_pieces(probs, boxes, height, width, threshold):
    """Number, left, top and bool (h, w) pixels of every mask that has an area, in the part of the image it reaches."""
    cell = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([probs.size(2), probs.size(1)])
    drawn = (cell > 0).all(1) & boxes.isfinite().all(1)
    # Interpolation against the zeros around a map reaches half a cell beyond its box.
    limit = boxes.new_tensor([width, height])
    starts = (boxes[:, :2] - cell / 2).floor().clamp(min=0).minimum(limit).nan_to_num().long().tolist()
    stops = (boxes[:, 2:] + cell / 2).ceil().clamp(min=0).minimum(limit).nan_to_num().long().tolist()
    for number in drawn.nonzero().squeeze(1).tolist():
        (x_start, y_start), (x_stop, y_stop) = starts[number], stops[number]
        x = torch.arange(x_start, x_stop, dtype=boxes.dtype, device=boxes.device) + 0.5
        y = torch.arange(y_start, y_stop, dtype=boxes.dtype, device=boxes.device) + 0.5
        x1, y1, x2, y2 = boxes[number]
        x, y = (x - x1) / (x2 - x1) * 2 - 1, (y - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=-1)
        area = torch.nn.functional.grid_sample(probs[number, None, None], grid[None], align_corners=False)[0, 0]
        yield number, x_start, y_start, area >= threshold


def encode_runs(runs, num_runs, num_pixels):
    texts = []
    for of_mask in runs.split(num_runs.tolist()):
        edges, times = of_mask.flatten().unique_consecutive(return_counts=True)
        edges = edges[times == 1]  # where one run ends and the next begins there is no edge
        lengths = torch.cat((edges.new_zeros(1), edges, edges.new_tensor([num_pixels]))).diff().tolist()
        if len(lengths) > 1 and lengths[-1] == 0:
            lengths.pop()
        texts.append(mask_api.frPyObjects(dict(counts=lengths, size=[num_pixels, 1]), num_pixels, 1)['counts'])
    return (torch.tensor(list(b''.join(texts)), dtype=torch.uint8),
            torch.tensor([len(text) for text in texts], dtype=torch.int64))


def cbn_statistics(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope, own_mean, own_var, first,
                   count):
    def by_weights(patches, slopes):
        """Means and variances (S, Cout) that are linear in the weights of today."""
        of_groups = weight.unflatten(0, (patches.size(1), -1))
        means = torch.einsum('sgp,gop->sgo', patches, of_groups).flatten(1)
        return means if bias is None else means + bias, (slopes * weight).sum(2)

    slots = [(first + entry) % slope.size(0) for entry in range(count)]
    linear_mean, linear_var = by_weights(patch[slots], slope[slots])
    shift = linear_mean - mean0[slots]
    means = torch.cat([own_mean[None], mean[slots] + shift])
    variances = torch.cat([own_var[None], (var0[slots] + linear_var - shift.square()).clamp(min=0)])
    slot = (first + count) % slope.size(0)
    patch[slot], slope[slot], mean[slot] = new_patch, new_slope, own_mean
    (mean0[slot],), (linear_var,) = by_weights(patch[slot, None], slope[slot, None])
    var0[slot] = own_var - linear_var
    pooled = means.mean(0)
    return pooled, variances.mean(0) + (means - pooled).square().mean(0)
