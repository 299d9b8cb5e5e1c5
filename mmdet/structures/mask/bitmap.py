"""BitmapMasks: instance masks as pixels."""
from collections.abc import Iterator, Sequence

import mmcv
import numpy as np
import torch

from mmdet import ops

from .windows import Index, MaskWindows, positions


class BitmapMasks:
    """The 0/1 masks of one image, with mmdetection's interface; held as `windows`, each mask cut to its tight window.

    Args:
        masks: (N, H, W) array or list of (H, W) arrays, in which what is not 0 is foreground, or MaskWindows.
        height, width: size of the image in pixels.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray] | MaskWindows, height: int, width: int):
        self.height, self.width = int(height), int(width)
        self.windows = masks if isinstance(masks, MaskWindows) else self._pack(masks)

    def _pack(self, masks: np.ndarray | Sequence[np.ndarray]) -> MaskWindows:
        for mask in masks:
            if mask.shape != (self.height, self.width):
                raise ValueError(f'a mask of shape {mask.shape} is given for an image of height {self.height}, '
                                 f'width {self.width}')
        return MaskWindows.pack([mask.astype(bool).view(np.uint8) for mask in masks], [(0, 0)] * len(masks))

    @property
    def masks(self) -> np.ndarray:
        """(N, H, W) uint8, painted at each call and read-only; assign an array to change the masks."""
        painted = self.windows.paint(self.height, self.width)
        painted.flags.writeable = False
        return painted

    @masks.setter
    def masks(self, masks: np.ndarray | Sequence[np.ndarray]) -> None:
        self.windows = self._pack(masks)

    def __getstate__(self) -> dict:
        # A loader's worker sends every byte of this through a pipe.
        pixels, boxes = self.windows
        return dict(height=self.height, width=self.width, bits=np.packbits(pixels), boxes=boxes)

    def __setstate__(self, state: dict) -> None:
        self.height, self.width = state['height'], state['width']
        boxes = state['boxes']
        num_pixels = int((boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum())
        self.windows = MaskWindows(np.unpackbits(state['bits'], count=num_pixels), boxes)

    def __len__(self) -> int:
        return len(self.windows.boxes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.masks)

    def __repr__(self) -> str:
        return f'BitmapMasks(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __getitem__(self, index: Index) -> 'BitmapMasks':
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
        """Place the image at (left, top) of another one."""
        return BitmapMasks(self.windows.shift(left, top, expanded_h, expanded_w), expanded_h, expanded_w)

    def translate(self, out_shape: tuple[int, int], offset: int, direction: str = 'horizontal') -> 'BitmapMasks':
        """Move by `offset` pixels, 'horizontal' or 'vertical', in an image of out_shape (h, w)."""
        dx, dy = (offset, 0) if direction == 'horizontal' else (0, offset)
        return BitmapMasks(self.windows.shift(dx, dy, *out_shape), *out_shape)

    def crop_and_resize(self, bboxes: np.ndarray | torch.Tensor, out_shape: tuple[int, int],
                        inds: np.ndarray | torch.Tensor, device: str | torch.device = 'cpu',
                        binarize: bool = True) -> 'BitmapMasks':
        """RoIAlign of mask inds[i] in box bboxes[i] (R, 4) to (h, w), thresholded at 0.5.

        Raises ValueError for binarize=False: these masks hold no shares.
        """
        if not binarize:
            raise ValueError('BitmapMasks.crop_and_resize: masks are 0 or 1, so binarize=False cannot be had; '
                             'mmdet.ops.crop_masks gives the share of each bin')
        bboxes = torch.as_tensor(bboxes, dtype=torch.float32, device=device)
        inds = torch.as_tensor(inds, dtype=torch.int64, device=device)
        images = self.to_tensor(torch.float32, device)[inds, None]
        rois = torch.cat([torch.arange(len(bboxes), device=device, dtype=torch.float32)[:, None], bboxes], dim=1)
        values = ops.roi_align(images, rois, (out_shape[0], out_shape[1]), 1.0, 0, True)[:, 0].cpu().numpy()
        return BitmapMasks(values >= 0.5, *out_shape)

    @property
    def areas(self) -> np.ndarray:
        """Foreground pixels of each mask, (N,)."""
        return self.windows.areas

    def get_bboxes(self) -> np.ndarray:
        """Tight boxes (N, 4) float32 xyxy, the right and the bottom edge outside; zeros for an empty mask."""
        return self.windows.boxes.astype(np.float32)

    def to_ndarray(self) -> np.ndarray:
        """The masks, (N, H, W) uint8."""
        return self.windows.paint(self.height, self.width)

    def to_bitmap(self) -> 'BitmapMasks':
        return self

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> torch.Tensor:
        """The masks as a tensor (N, H, W)."""
        return torch.from_numpy(self.to_ndarray()).to(device=device, dtype=dtype)


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
