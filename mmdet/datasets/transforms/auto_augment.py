"""AutoAugment and RandAugment: a few of many transforms."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mmdet.registry import TRANSFORMS

# AutoAugment's policy v0 for detection (arXiv 1906.11172, appendix): type, probability and level of two transforms.
_POLICY_V0 = """
Equalize .8 1 ShearY .8 4, Color .4 9 Equalize .6 3, Color .4 1 Rotate .6 8, Solarize .8 3 Equalize .4 7,
Solarize .4 2 Solarize .6 2, Color .2 0 Equalize .8 8, Equalize .4 8 SolarizeAdd .8 3, ShearX .2 9 Rotate .6 8,
Color .6 1 Equalize 1 2, Invert .4 9 Rotate .6 0, Equalize 1 9 ShearY .6 3, Color .4 7 Equalize .6 0,
Posterize .4 6 AutoContrast .4 7, Solarize .6 8 Color .6 9, Solarize .2 4 Rotate .8 9, Rotate 1 7 TranslateY .8 9,
ShearX 0 0 Solarize .8 4, ShearY .8 0 Color .6 4, Color 1 0 Rotate .6 2, Equalize .8 4 Equalize 0 8,
Equalize 1 4 AutoContrast .6 2, ShearY .4 7 SolarizeAdd .6 7, Posterize .8 2 Solarize .6 10, Solarize .6 8
Equalize .6 1, Color .8 6 Rotate .4 5"""
_SPACE = ('AutoContrast', 'Equalize', 'Invert', 'Rotate', 'Posterize', 'Solarize', 'SolarizeAdd', 'Color', 'Contrast',
          'Brightness', 'Sharpness', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')


def _policies() -> list[list[dict]]:
    pairs = [pair.split() for pair in _POLICY_V0.split(',')]
    return [[dict(type=kind, prob=float(prob), level=int(level)) for kind, prob, level in (pair[:3], pair[3:])]
            for pair in pairs]


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply `aug_num` different ones of several transforms, one after the other (arXiv 1909.13719).

    Args:
        aug_space: lists of configs of transforms that are drawn together; by default 15 lists of one.
        aug_num: how many are drawn.
        prob: of each; by default all are alike.
    """

    def __init__(self, aug_space: Sequence[Sequence[dict]] | None = None,
                 aug_num: int = 2, prob: Sequence[float] | None = None):
        aug_space = aug_space or [[dict(type=kind)] for kind in _SPACE]
        self.steps = [Compose([TRANSFORMS.build(part) for part in parts]) for parts in aug_space]
        self.aug_num, self.prob = aug_num, prob

    def transform(self, results: dict | None) -> dict | None:
        for i in np.random.choice(len(self.steps), self.aug_num, p=self.prob, replace=False):
            results = results and self.steps[i](results)
        return results


@TRANSFORMS.register_module()
class AutoAugment(RandAugment):
    """Apply one of several policies, each a list of configs of transforms; by default those of arXiv 1906.11172."""

    def __init__(self, policies: Sequence[Sequence[dict]] | None = None, prob: Sequence[float] | None = None):
        super().__init__(policies or _policies(), 1, prob)
