"""A config's test pipeline for images that have no annotations."""
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config

from mmdet.engine.config import innermost
from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS

from .image_input import as_image


def as_results(image: Any) -> dict:
    """What a pipeline begins with, of what as_image takes: dict of img_path or of img, (H, W, 3) BGR; img_id is 0."""
    image = as_image(image)
    return dict({'img_path' if isinstance(image, str) else 'img': image}, img_id=0)


@TRANSFORMS.register_module()
class InferencerLoader(BaseTransform):
    """The first step in place of LoadImageFromFile, with its arguments: takes what as_image or as_results gives."""

    def __init__(self, **kwargs: Any):
        self.load_file = TRANSFORMS.build(dict(type='LoadImageFromFile', **kwargs))
        self.load_array = TRANSFORMS.build(dict(type='LoadImageFromNDArray'))

    def transform(self, results: Any) -> dict:
        results = results if isinstance(results, dict) else as_results(results)
        return (self.load_array if 'img' in results else self.load_file)(results)


class TestPipeline:
    """What as_image takes, or what as_results gives -> packed dict."""
    __test__ = False  # pytest must not collect it

    def __init__(self, cfg: Config):
        if cfg.get('test_dataloader') is None:
            raise UserError('the config has no test_dataloader, whose pipeline prepares the images')
        steps = [step for step in innermost(cfg.test_dataloader.dataset)['pipeline']
                 if not step['type'].endswith('LoadAnnotations')]
        if not steps or not steps[0]['type'].endswith('LoadImageFromFile'):
            raise UserError('the test pipeline must begin with LoadImageFromFile')
        self.steps = [TRANSFORMS.build(step) for step in [dict(steps[0], type='InferencerLoader'), *steps[1:]]]

    def load(self, image: Any) -> np.ndarray:
        """(H, W, 3) BGR, as the first step loads it."""
        return self.steps[0](image)['img']

    def __call__(self, image: Any) -> dict:
        for step in self.steps:
            image = step(image)
        return image
