"""The loss of a validation: what training minimizes, on pictures that it does not see."""
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModel

from mmdet.datasets.innermost import innermost_dataset
from mmdet.errors import UserError
from mmdet.structures import DetDataSample


class ImageMean:
    """The mean over the images of all processes. Every process must ask for it."""

    def __init__(self) -> None:
        self.total = torch.zeros(2, dtype=torch.float64)  # sum, number of images

    def add(self, value: float, images: int) -> None:
        """Take the mean over some images."""
        self.total += torch.tensor([value * images, images])

    def mean(self) -> float:
        total = self.total.clone()
        all_reduce(total)
        return float(total[0] / total[1])


def validation_losses(model: BaseModel, batch: dict, seed: int, resized_later: bool) -> dict[str, float]:
    """The losses of a loader's batch under names that begin with val_, in the mode that the model is in.

    Args:
        seed: of torch's generator, from which boxes are sampled.
        resized_later: the annotations are those of the original pictures, not of the resized ones.
    """
    samples = [resized(sample) if resized_later else sample for sample in batch['data_samples']]
    prepared = model.data_preprocessor(dict(batch, data_samples=samples), True)
    torch.manual_seed(seed)
    losses = model(**prepared, mode='loss')
    return {f'val_{name}': float(value) for name, value in losses.items() if 'loss' in name}


def loads_annotations_last(dataset: Any) -> bool:
    """Whether a data set resizes its pictures before it loads their annotations, as mmdetection's test pipelines do.

    Raises:
        UserError: it loads none.
    """
    dataset = innermost_dataset(dataset)
    steps = [type(step).__name__ for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ())]
    loading = [i for i, name in enumerate(steps) if 'LoadAnnotations' in name]
    if not loading:
        raise UserError('val_cfg.loss=True needs the annotations: add LoadAnnotations (with_bbox, and with_mask where '
                        'masks are trained) to the pipeline of val_dataloader')
    return any('Resize' in name for name in steps[:loading[-1]])


def resized(sample: DetDataSample) -> DetDataSample:
    """A copy of the sample whose annotations, those of the original picture, have the size of the picture it holds."""
    sample = sample.clone()
    factor = torch.tensor(sample.get('scale_factor', (1., 1.))).repeat(2)
    for kind in ('gt_instances', 'ignored_instances'):
        instances = sample.get(kind, {})
        if 'bboxes' in instances:
            instances.bboxes = instances.bboxes * factor
        if 'masks' in instances:
            instances.masks = instances.masks.resize(sample.img_shape[:2])
    return sample
