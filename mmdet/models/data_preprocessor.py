"""From what the loader hands over to one padded, normalized batch on the device.

Shapes: B images, (H, W) the size all of them are padded to.
"""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, GroundTruth
from mmdet.structures.batch import stack_images, to_device


@MODELS.register_module()
class DetDataPreprocessor(BaseDataPreprocessor):
    """Stack, normalize and pad images; pack their ground truth.

    Args:
        mean, std: 3 numbers each, in the channel order the network sees; None: no normalization.
        pad_size_divisor: H and W are multiples of this many pixels.
        pad_value: what the padding holds (after normalization).
        pad_mask: accepted; masks always lie on the padded canvas.
        bgr_to_rgb, rgb_to_bgr: reverse the channels.
        batch_augments: configs of modules (inputs, data_samples) -> (inputs, data_samples), in training only.
        non_blocking: accepted; copies to a GPU never make the host wait.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 pad_size_divisor: int = 1, pad_value: float = 0, pad_mask: bool = False, bgr_to_rgb: bool = False,
                 rgb_to_bgr: bool = False, batch_augments: Sequence[dict] | None = None, non_blocking: bool = False):
        super().__init__(non_blocking)
        if (mean is None) != (std is None):
            raise UserError('data_preprocessor needs both mean and std, or neither')
        if bgr_to_rgb and rgb_to_bgr:
            raise UserError('data_preprocessor: set bgr_to_rgb or rgb_to_bgr, not both')
        self.register_buffer('mean', torch.tensor(mean or [0.] * 3).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std or [1.] * 3).view(1, -1, 1, 1), persistent=False)
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value
        self.reverse_channels = bgr_to_rgb or rgb_to_bgr
        self.batch_augments = nn.ModuleList(MODELS.build(augment) for augment in batch_augments or [])

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data: dict with `inputs`, a list of uint8 or float (3, h, w) tensors, or one tensor (B, 3, h, w) of which
                each image fills its sample's img_shape, and `data_samples`, a list of DetDataSample or None.

        Returns:
            dict of `inputs` float32 (B, 3, H, W) channels-last, `data_samples` and, in training, `gt` (GroundTruth).
        """
        images, samples = data['inputs'], data.get('data_samples')
        for i, image in enumerate(images):
            if image.dim() != 3 or len(image) != 3:
                name = samples[i].get('img_path', f'number {i} of the batch') if samples else f'number {i} of the batch'
                raise UserError(f'image {name}: expected a tensor (3, h, w), got {tuple(image.shape)}')
        if samples and isinstance(images, torch.Tensor):
            sizes = [tuple(sample.img_shape[:2]) for sample in samples]
        else:
            sizes = [tuple(image.shape[1:]) for image in images]
        inputs = self._normalize(images, sizes)
        for size, sample in zip(sizes, samples or []):
            sample.set_metainfo(dict(batch_input_shape=tuple(inputs.shape[2:]), pad_shape=self._padded(size)))
        if training:
            for augment in self.batch_augments:
                inputs, samples = augment(inputs, samples)
        batch = dict(inputs=inputs, data_samples=samples)
        if training and samples:
            batch['gt'] = GroundTruth.from_samples(samples, self.device)
        return batch

    def _padded(self, size):
        return tuple(-(-side // self.pad_size_divisor) * self.pad_size_divisor for side in size)

    def _normalize(self, images, sizes):
        """One transfer of the raw pixels, arithmetic on the device; what lies outside `sizes` becomes `pad_value`."""
        if not isinstance(images, torch.Tensor):
            images = stack_images(images, self.device)
        height, width = self._padded(images.shape[2:])
        stack, = to_device([images], self.device)
        stack = F.pad(stack, (0, width - stack.shape[3], 0, height - stack.shape[2])).float()
        if self.reverse_channels:
            stack = stack.flip(1)
        stack = stack.sub_(self.mean).div_(self.std)
        if set(sizes) != {(height, width)}:
            sizes, = to_device([torch.tensor(sizes)], self.device)
            rows = torch.arange(height, device=self.device) < sizes[:, :1]
            columns = torch.arange(width, device=self.device) < sizes[:, 1:]
            stack = stack.masked_fill_(~(rows[:, None, :, None] & columns[:, None, None, :]), self.pad_value)
        return stack.contiguous(memory_format=torch.channels_last)


@MODELS.register_module()
class BatchFixedSizePad(nn.Module):
    """Pad every training batch to one size, so that shapes never change (large scale jitter).

    Args:
        size: (height, width) in pixels; larger batches stay as they are.
        img_pad_value: what the padding holds.
        pad_mask: accepted; masks always lie on the padded canvas.
    """

    def __init__(self, size: tuple[int, int], img_pad_value: float = 0, pad_mask: bool = False):
        super().__init__()
        self.size = tuple(size)
        self.img_pad_value = img_pad_value

    def forward(self, inputs: Tensor,
                data_samples: Sequence[DetDataSample] | None) -> tuple[Tensor, Sequence[DetDataSample] | None]:
        """Return padded `inputs` (B, 3, H, W) and `data_samples` that know the new size."""
        below, right = (max(0, want - have) for want, have in zip(self.size, inputs.shape[2:]))
        inputs = F.pad(inputs, (0, right, 0, below), value=self.img_pad_value)
        for sample in data_samples or []:
            sample.set_metainfo(dict(batch_input_shape=tuple(inputs.shape[2:]), pad_shape=tuple(inputs.shape[2:])))
        return inputs, data_samples
