"""COCO's run-length encoding of predicted masks."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.ops.extension import SERVED, fake
from mmdet.ops.paste_masks import checked, pasted_pieces


def paste_masks_as_rle(probs: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> list[dict]:
    """COCO's RLE of what `paste_masks` returns, which is never built: only the pixels of the boxes are computed.

    Args:
        probs (Tensor): (N, h, w) probabilities, floating point (computed in float32).
        boxes (Tensor): (N, 4) xyxy in pixels of the image, floating point. A box of no area gives an empty mask.
        height (int), width (int): size of the image in pixels.
        threshold (float): positive; a pixel belongs to the mask from this probability on.

    Returns:
        list of N dicts: size [height, width] and counts, pycocotools' compressed text as a str.

    Raises:
        ValueError: shapes, sizes, devices or a threshold that do not fit. TypeError: other than floating point.
    """
    probs, boxes = checked('paste_masks_as_rle', probs, boxes, height, width, threshold)
    find = torch.ops.mmdet.mask_runs if SERVED[probs.device.type] else slow_mask_runs
    encode = torch.ops.mmdet.encode_runs if SERVED['cpu'] else _slow_encode_runs
    runs, num_runs = find(probs, boxes, height, width, threshold)
    if probs.device.type != 'cpu':  # one copy
        num_runs, runs = torch.cat([num_runs, runs.flatten()]).cpu().split([len(num_runs), runs.numel()])
    chars, num_chars = encode(runs.view(-1, 2), num_runs, height * width)
    text, ends = chars.numpy().tobytes().decode('ascii'), num_chars.cumsum(0).tolist()
    return [dict(size=[height, width], counts=text[end - length:end])
            for end, length in zip(ends, num_chars.tolist(), strict=True)]


def slow_mask_runs(probs: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> tuple[Tensor, Tensor]:
    runs = [boxes.new_empty((0, 2), dtype=torch.int64)] * probs.size(0)
    for number, left, top, piece in pasted_pieces(probs, boxes, height, width, threshold):
        edges = F.pad(piece.T.to(torch.int8).contiguous(), (1, 1)).diff(dim=1)
        starts, stops = edges.eq(1).nonzero(), edges.eq(-1).nonzero()
        runs[number] = torch.stack([(left + ends[:, 0]) * height + top + ends[:, 1] for ends in (starts, stops)], 1)
    num_runs = torch.tensor([len(of_mask) for of_mask in runs], dtype=torch.int64, device=probs.device)
    return torch.cat(runs) if runs else boxes.new_empty((0, 2), dtype=torch.int64), num_runs


def _slow_encode_runs(runs, num_runs, num_pixels):
    from pycocotools import mask as mask_api
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


@fake('mask_runs')
def _fake_mask_runs(probs, boxes, height, width, threshold):
    total = torch.library.get_ctx().new_dynamic_size()
    return probs.new_empty((total, 2), dtype=torch.int64), probs.new_empty((probs.size(0),), dtype=torch.int64)


@fake('encode_runs')
def _fake_encode_runs(runs, num_runs, num_pixels):
    num_chars = torch.library.get_ctx().new_dynamic_size()
    return runs.new_empty((num_chars,), dtype=torch.uint8), torch.empty_like(num_runs)
