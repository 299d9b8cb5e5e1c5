"""BitmapMasks: instance masks as pixels."""
from collections.abc import Sequence

import mmcv
import numpy as np
import torch

from mmdet import ops

from .windows import MaskWindows, positions


class BitmapMasks:
    """The 0/1 masks of one image, with mmdetection's interface.

    Held either as `masks` (N, H, W) or as `windows`, whichever was asked for last; the transforms work on the windows,
    and a pickle carries the windows.

    Args:
        masks: (N, H, W) array, list of (H, W) arrays, or MaskWindows.
        height, width: size of the image in pixels.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray] | MaskWindows, height: int, width: int):
        self.height, self.width = int(height), int(width)
        if isinstance(masks, MaskWindows):
            self._masks, self._windows = None, masks
            return
        masks = np.stack(masks) if len(masks) else np.empty((0, height, width), np.uint8)
        if masks.shape[1:] != (height, width):
            raise ValueError(f'masks of shape {masks.shape} given for an image of height {height}, width {width}')
        self._masks, self._windows = masks, None

    @property
    def masks(self) -> np.ndarray:
        """(N, H, W); what is written into it stays."""
        if self._masks is None:
            self._masks, self._windows = self._windows.paint(self.height, self.width), None
        return self._masks

    @property
    def windows(self) -> MaskWindows:
        """Every mask cut to its tight window."""
        if self._windows is None:
            pieces = [mask.astype(bool).view(np.uint8) for mask in self._masks]
            self._masks, self._windows = None, MaskWindows.pack(pieces, [(0, 0)] * len(pieces))
        return self._windows

    def __getstate__(self):
        return dict(height=self.height, width=self.width, _masks=None, _windows=self.windows)

    def __len__(self):
        return len(self._windows.boxes if self._masks is None else self._masks)

    def __iter__(self):
        return iter(self.masks)

    def __repr__(self):
        return f'BitmapMasks(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __getitem__(self, index) -> 'BitmapMasks':
        """Masks at an integer, a slice, or an array of integers or booleans."""
        return BitmapMasks(self.windows.select(positions(index, len(self))), self.height, self.width)

    @classmethod
    def cat(cls, masks: Sequence['BitmapMasks']) -> 'BitmapMasks':
        """Join the masks of several BitmapMasks of one image size."""
        pixels, boxes = zip(*(m.windows for m in masks), strict=True)
        return cls(MaskWindows(np.concatenate(pixels), np.concatenate(boxes)), masks[0].height, masks[0].width)

    def resize(self, out_shape: tuple[int, int]) -> 'BitmapMasks':
        """Nearest-neighbour resize to (h, w), pixel for pixel cv2's."""
        return BitmapMasks(self.windows.resize((self.height, self.width), out_shape), *out_shape)

    def rescale(self, scale: float | tuple[int, int]) -> 'BitmapMasks':
        """Resize by a factor, or to the largest size within (long side, short side) that keeps the aspect ratio."""
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width))

    def flip(self, flip_direction: str = 'horizontal') -> 'BitmapMasks':
        """Mirror: 'horizontal', 'vertical', or 'diagonal' for both."""
        horizontal, vertical = flip_axes(flip_direction)
        return BitmapMasks(self.windows.flip(self.height, self.width, horizontal, vertical), self.height, self.width)

    def pad(self, out_shape: tuple[int, int]) -> 'BitmapMasks':
        """Background added at the right and the bottom up to (h, w)."""
        return BitmapMasks(self.windows.shift(0, 0, *out_shape), *out_shape)

    def crop(self, bbox: np.ndarray) -> 'BitmapMasks':
        """Cut to the integer box x1, y1, x2, y2; parts of the box outside the image are left out."""
        x, y, width, height = crop_window(bbox, self.height, self.width)
        return BitmapMasks(self.windows.shift(-x, -y, height, width), height, width)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> 'BitmapMasks':
        """Place the image at (left, top) of a larger one."""
        return BitmapMasks(self.windows.shift(left, top, expanded_h, expanded_w), expanded_h, expanded_w)

    def translate(self, out_shape: tuple[int, int], offset: int, direction: str = 'horizontal') -> 'BitmapMasks':
        """Move by `offset` pixels, 'horizontal' or 'vertical', in an image of out_shape (h, w)."""
        dx, dy = (offset, 0) if direction == 'horizontal' else (0, offset)
        return BitmapMasks(self.windows.shift(dx, dy, *out_shape), *out_shape)

    def crop_and_resize(self, bboxes, out_shape: tuple[int, int], inds, device='cpu',
                        binarize: bool = True) -> 'BitmapMasks':
        """RoIAlign of mask inds[i] in box bboxes[i] (R, 4) to (h, w), thresholded at 0.5 when `binarize`."""
        bboxes = torch.as_tensor(bboxes, dtype=torch.float32, device=device)
        inds = torch.as_tensor(inds, dtype=torch.int64, device=device)
        images = self.to_tensor(torch.float32, device)[inds, None]
        rois = torch.cat([torch.arange(len(bboxes), device=device, dtype=torch.float32)[:, None], bboxes], dim=1)
        values = ops.roi_align(images, rois, tuple(out_shape), 1.0, 0, True)[:, 0].cpu().numpy()
        return BitmapMasks((values >= 0.5).astype(np.uint8) if binarize else values, *out_shape)

    @property
    def areas(self) -> np.ndarray:
        """Foreground pixels of each mask, (N,)."""
        return self.windows.areas

    def get_bboxes(self) -> np.ndarray:
        """Tight boxes (N, 4) float32 xyxy, the right and the bottom edge outside; zeros for an empty mask."""
        return self.windows.boxes.astype(np.float32)

    def to_ndarray(self) -> np.ndarray:
        """The masks, (N, H, W)."""
        return self.masks

    def to_bitmap(self) -> 'BitmapMasks':
        return self

    def to_tensor(self, dtype, device) -> torch.Tensor:
        """The masks as a tensor (N, H, W)."""
        return torch.as_tensor(self.masks).to(device=device, dtype=dtype)


def flip_axes(flip_direction: str) -> tuple[bool, bool]:
    """Whether a flip direction mirrors x and whether it mirrors y."""
    try:
        return {'horizontal': (True, False), 'vertical': (False, True), 'diagonal': (True, True)}[flip_direction]
    except KeyError:
        raise ValueError(f"flip_direction must be 'horizontal', 'vertical' or 'diagonal', "
                         f'not {flip_direction!r}') from None


def crop_window(bbox: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, width and height (at least 1) of an integer box x1, y1, x2, y2 cut to the image."""
    x1, y1, x2, y2 = np.clip(bbox, 0, [width, height, width, height]).astype(int).tolist()
    return x1, y1, max(x2 - x1, 1), max(y2 - y1, 1)
