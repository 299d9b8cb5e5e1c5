"""PastedMasks: predicted masks before they become pixels of the image."""
from collections.abc import Sequence

import numpy as np
import torch

from mmdet import ops


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

    def __len__(self):
        return len(self.probs)

    def __repr__(self):
        return f'PastedMasks(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __getitem__(self, index) -> 'PastedMasks':
        """Masks at an integer, a slice, or a tensor of integers or booleans."""
        if isinstance(index, int):
            index = [index]
        return PastedMasks(self.probs[index], self.boxes[index], self.height, self.width, self.threshold)

    @classmethod
    def cat(cls, masks: Sequence['PastedMasks']) -> 'PastedMasks':
        """Join the masks of several PastedMasks of one image and threshold."""
        probs, boxes = (torch.cat([getattr(m, name) for m in masks]) for name in ('probs', 'boxes'))
        return cls(probs, boxes, masks[0].height, masks[0].width, masks[0].threshold)

    def to(self, device) -> 'PastedMasks':
        return PastedMasks(self.probs.to(device), self.boxes.to(device), self.height, self.width, self.threshold)

    def to_tensor(self, dtype=torch.bool, device=None) -> torch.Tensor:
        """The masks as a tensor (N, height, width), by default bool on the device they were predicted on."""
        masks = ops.paste_masks(self.probs, self.boxes, self.height, self.width, self.threshold)
        return masks.to(device=device, dtype=dtype)

    def to_ndarray(self) -> np.ndarray:
        """The masks, (N, height, width) uint8."""
        return self.to_tensor(torch.uint8, 'cpu').numpy()

    def rles(self) -> list[dict]:
        """The masks as COCO's RLEs: size [height, width] and counts, pycocotools' compressed text as a str."""
        return ops.paste_masks_as_rle(self.probs, self.boxes, self.height, self.width, self.threshold)
