"""What a loader's worker does with the samples of a batch."""
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch import Tensor

from mmdet.errors import UserError
from mmdet.structures.batch import stack_images


@FUNCTIONS.register_module()
def stacked_collate(samples: list[dict]) -> dict:
    """As mmengine's pseudo_collate, but images of one dtype come as one tensor (B, 3, H, W), channels-last.

    The main process, which has to keep the device busy, is spared the copy. `img_shape` of each sample tells which part
    of the tensor its image fills, the rest is 0.
    """
    for sample in samples:
        if not isinstance(sample, dict) or 'inputs' not in sample:
            raise UserError("the data set's pipeline gives "
                            + (f'{", ".join(map(str, sample))}' if isinstance(sample, dict) else repr(sample))[:200]
                            + ", but no `inputs`: its last transform must be dict(type='PackDetInputs')")
    batch = pseudo_collate(samples)
    images = batch.get('inputs')
    if 'data_samples' in batch and isinstance(images, list) and isinstance(images[0], Tensor) \
            and len({image.dtype for image in images}) == 1 \
            and all(image.dim() == 3 and tuple(image.shape) == (3, *sample.img_shape[:2])
                    for image, sample in zip(images, batch['data_samples'])):
        batch['inputs'] = stack_images(images)
    return batch
