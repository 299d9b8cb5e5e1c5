"""A batch on its way from the loader to the device: images as one tensor, ground truth as one tensor a field.

Shapes: B images, G most objects of an image (at least 1), I most ignored boxes of an image (at least 1).
"""
import functools
from collections.abc import Sequence
from itertools import accumulate, repeat
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .det_data_sample import DetDataSample, SampleList

ALIGNMENT = 16  # bytes, of tensors that travel together


def stack_images(images: Sequence[Tensor], device: torch.device | str = 'cpu') -> Tensor:
    """Images of different sizes as one tensor, zeros to their right and below.

    Args:
        images: B tensors (3, h, w) of one dtype. Those of a loader are views of (h, w, 3): their rows are copied whole.
        device: where they go next; for a GPU they are put where it copies from by itself.

    Returns:
        (B, 3, max h, max w), channels-last, on the images' own device.
    """
    channels, height, width = torch.tensor([image.shape for image in images]).amax(0).tolist()
    pin = torch.device(device).type == 'cuda' and images[0].device.type == 'cpu'
    stack = torch.empty(len(images), height, width, channels, dtype=images[0].dtype, device=images[0].device,
                        pin_memory=pin)
    for padded, image in zip(stack, images):
        _, h, w = image.shape
        padded[:h, :w] = image.permute(1, 2, 0)
        padded[:h, w:] = 0
        padded[h:] = 0
    return stack.permute(0, 3, 1, 2)


def to_device(tensors: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """The tensors on `device`.

    From the host to a GPU they travel in one copy, for which the host does not wait. It is made while the GPU still
    computes what it was given before; only what is asked of it from now on waits for the copy.
    """
    if torch.device(device).type != 'cuda' or any(tensor.device.type != 'cpu' for tensor in tensors):
        return list(map(Tensor.to, tensors, repeat(device)))
    if len(tensors) == 1:
        return [_copy(tensors[0].pin_memory(), device)]
    packed, unpack = _pack(tensors, pin_memory=torch.cuda.is_available())
    return unpack(_copy(packed, device))


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, all of one device, on the CPU and without gradients. From a GPU they travel in one copy."""
    tensors = [tensor.detach() for tensor in tensors]
    if all(tensor.device.type == 'cpu' for tensor in tensors):
        return tensors
    packed, unpack = _pack(tensors, device=tensors[0].device)
    return unpack(packed.cpu())


def _pack(tensors, **where):
    """The tensors one after the other as bytes, and what makes them of a copy of these."""
    ends = list(accumulate(-(-tensor.numel() * tensor.element_size() // ALIGNMENT) * ALIGNMENT for tensor in tensors))
    places = [(end, tensor.numel() * tensor.element_size()) for end, tensor in zip([0, *ends], tensors)]

    def unpack(packed):
        return [packed[start:start + size].view(tensor.dtype).view(tensor.shape)
                for tensor, (start, size) in zip(tensors, places)]
    packed = torch.empty(ends[-1], dtype=torch.uint8, **where)
    for own, tensor in zip(unpack(packed), tensors):
        own.copy_(tensor)
    return packed, unpack


def _copy(pinned, device):
    if not torch.cuda.is_available():  # a device that is not there
        return pinned.to(device, non_blocking=True)
    current = torch.cuda.current_stream(device)
    side = _copy_stream(current.device)
    with torch.cuda.stream(side):
        copy = pinned.to(device, non_blocking=True)
    current.wait_stream(side)
    copy.record_stream(current)  # its memory is the side stream's: not to be used again before the work here is done
    return copy


@functools.cache
def _copy_stream(device):
    return torch.cuda.Stream(device)


class BatchMasks(NamedTuple):
    """The MaskWindows of every object, image after image."""
    pixels: Tensor          # (P,) uint8, 0 or 1
    boxes: Tensor           # (N, 4) int64, x1, y1, x2, y2


class Proposals(NamedTuple):
    """Boxes to look at, xyxy pixels of the resized image, float32; zeros where `valid` is False."""
    boxes: Tensor           # (B, P, 4)
    valid: Tensor           # (B, P) bool

    @classmethod
    def from_samples(cls, samples: Sequence[DetDataSample], device: str | torch.device) -> 'Proposals':
        """Pack the `proposals` of a list of DetDataSample onto `device`."""
        return cls.pack([sample.proposals.bboxes for sample in samples], device)

    @classmethod
    def pack(cls, of_images: Sequence[Tensor], device: str | torch.device) -> 'Proposals':
        """Pack boxes (P, 4) of each image onto `device`."""
        boxes = _pad(of_images, 4)
        counts = torch.tensor([[len(own)] for own in of_images], device=boxes.device)
        valid = torch.arange(boxes.shape[1], device=boxes.device) < counts
        return cls(*to_device([boxes, valid], device))


class GroundTruth(NamedTuple):
    """Boxes are xyxy pixels of the resized image, float32; sizes are (height, width) pixels, float32.

    Rows beyond an image's own objects hold zeros and are False in `valid`.
    """
    boxes: Tensor           # (B, G, 4)
    labels: Tensor          # (B, G) int64, 0..K-1
    valid: Tensor           # (B, G) bool
    ignored: Tensor         # (B, I, 4); crowds and the like, zero-area rows are padding
    image_sizes: Tensor     # (B, 2) the image inside its padding
    padded_sizes: Tensor    # (B, 2) the image padded to the size divisor
    masks: BatchMasks | None    # of all objects; one empty mask where there are none
    mask_rows: Tensor       # (B, G) int64, row of each object in `masks`
    proposals: Proposals | None = None  # where the samples bring some

    @classmethod
    def from_samples(cls, samples: SampleList, device: str | torch.device) -> 'GroundTruth':
        """Pack the `gt_instances` and `ignored_instances` of a list of DetDataSample onto `device`."""
        counts = [len(sample.gt_instances.bboxes) for sample in samples]
        boxes = _pad([sample.gt_instances.bboxes for sample in samples], 4)
        labels = _pad([sample.gt_instances.labels[:, None] for sample in samples], 1)[..., 0].long()
        ignored = _pad([_ignored_boxes(sample) for sample in samples], 4)
        number = torch.tensor(counts)[:, None]
        column = torch.arange(boxes.shape[1])[None]
        mask_rows = (column + number.cumsum(0) - number).clamp(max=max(sum(counts) - 1, 0))
        own_masks: list[Tensor] = []
        if all('masks' in sample.gt_instances for sample in samples):
            pixels, windows = (np.concatenate(part) for part in zip(*(sample.gt_instances.masks.windows
                                                                      for sample in samples)))
            if not len(windows):  # rows that stand for no object look at the first mask
                windows = np.zeros((1, 4), np.int64)
            own_masks = [torch.from_numpy(pixels), torch.from_numpy(windows)]
        image_sizes = pack_image_sizes(samples, 'cpu')
        padded_sizes = torch.tensor([sample.get('pad_shape', sample.img_shape)[:2] for sample in samples],
                                    dtype=torch.float32)
        boxes, labels, valid, ignored, image_sizes, padded_sizes, mask_rows, *own_masks = to_device(
            [boxes, labels, column < number, ignored, image_sizes, padded_sizes, mask_rows, *own_masks], device)
        return cls(boxes, labels, valid, ignored, image_sizes, padded_sizes,
                   BatchMasks(*own_masks) if own_masks else None, mask_rows,
                   Proposals.from_samples(samples, device) if 'proposals' in samples[0] else None)


def pack_image_sizes(samples: Sequence[DetDataSample], device: str | torch.device) -> Tensor:
    """float32 (B, 2) on `device`: (height, width) pixels of each resized image."""
    return to_device([torch.tensor([sample.img_shape[:2] for sample in samples], dtype=torch.float32)], device)[0]


def packed_lists(results: Sequence[InstanceData], samples: SampleList,
                 device: str | torch.device) -> tuple[Tensor, Tensor, GroundTruth, tuple[int, int]]:
    """Of proposals as InstanceData and the data samples, an entry an image: Proposals, GroundTruth, (height, width)."""
    boxes, valid = Proposals.pack([result.bboxes for result in results], device)
    return boxes, valid, GroundTruth.from_samples(samples, device), samples[0].batch_input_shape


def _ignored_boxes(sample: DetDataSample) -> Tensor:
    if 'ignored_instances' in sample and 'bboxes' in sample.ignored_instances:
        return sample.ignored_instances.bboxes
    return torch.zeros(0, 4)


def _pad(rows: Sequence[Tensor], width: int) -> Tensor:
    """Stack tensors (n_i, width) into float32 (B, max(1, max n_i), width), zeros below."""
    padded = torch.zeros(len(rows), max(1, *(len(row) for row in rows)), width, device=rows[0].device)
    for i, row in enumerate(rows):
        padded[i, :len(row)] = row
    return padded
