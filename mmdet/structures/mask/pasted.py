"""PastedMasks: predicted masks before they become pixels of the image."""
from collections.abc import Sequence

import numpy as np
import torch

from mmdet import ops

from .windows import MaskWindows


class PastedMasks:
    """N predicted masks as the mask head gave them; pixels or COCO's RLE are computed when asked for.

    The bitmaps of 100 detections in an image of 800 x 1333 take 100 MB, their RLEs 50 KB.

    Args:
        probs: (N, h, w) probabilities, floating point.
        boxes: (N, 4) xyxy in pixels of the image, floating point, on the device of probs.
        height, width: size of the image in pixels.
        threshold: a pixel belongs to the mask from this probability on.
    """

    def __init__(self, probs: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float):
        self.probs, self.boxes = probs, boxes
        self.height, self.width, self.threshold = int(height), int(width), threshold

    def __len__(self) -> int:
        return len(self.probs)

    def __repr__(self) -> str:
        return f'PastedMasks(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __getitem__(self, index: int | slice | list | torch.Tensor) -> 'PastedMasks':
        """Masks at an integer, a slice, or a tensor of integers or booleans."""
        if isinstance(index, int):
            index = [index]
        return PastedMasks(self.probs[index], self.boxes[index], self.height, self.width, self.threshold)

    @classmethod
    def cat(cls, masks: Sequence['PastedMasks']) -> 'PastedMasks':
        """Join the masks of several PastedMasks of one image and threshold."""
        probs, boxes = (torch.cat([getattr(m, name) for m in masks]) for name in ('probs', 'boxes'))
        return cls(probs, boxes, masks[0].height, masks[0].width, masks[0].threshold)

    def to(self, device: str | torch.device) -> 'PastedMasks':
        return PastedMasks(self.probs.to(device), self.boxes.to(device), self.height, self.width, self.threshold)

    @property
    def windows(self) -> MaskWindows:
        """Every mask cut to its tight window, on the CPU; pixels of the image outside its box are never built."""
        probs, boxes = self.probs.detach().cpu(), self.boxes.detach().cpu().float()
        # Interpolation reaches half a cell of `probs` beyond the box.
        reach = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([probs.shape[2], probs.shape[1]]) / 2
        limits = boxes.new_tensor([self.width, self.height])
        corners = (boxes[:, :2] - reach).floor().clamp(min=0).minimum(limits)
        sizes = ((boxes[:, 2:] + reach).ceil().clamp(min=0).minimum(limits) - corners).clamp(min=0)
        boxes = boxes - corners.repeat(1, 2)
        pieces = [ops.paste_masks(probs[i:i + 1], boxes[i:i + 1], height, width, self.threshold)[0].numpy()
                  for i, (width, height) in enumerate(sizes.int().tolist())]
        return MaskWindows.pack([piece.view(np.uint8) for piece in pieces], corners.int().tolist())

    def to_tensor(self, dtype: torch.dtype = torch.bool, device: str | torch.device | None = None) -> torch.Tensor:
        """The masks as a tensor (N, height, width), by default bool on the device they were predicted on."""
        masks = ops.paste_masks(self.probs, self.boxes, self.height, self.width, self.threshold)
        return masks.to(device=device, dtype=dtype)

    def to_ndarray(self) -> np.ndarray:
        """The masks, (N, height, width) uint8."""
        return self.to_tensor(torch.uint8, 'cpu').numpy()

    def rles(self) -> list[dict]:
        """The masks as COCO's RLEs: size [height, width] and counts, pycocotools' compressed text as a str."""
        return ops.paste_masks_as_rle(self.probs, self.boxes, self.height, self.width, self.threshold)
