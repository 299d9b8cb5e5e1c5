"""ResNet backbones under the names of torchvision and timm (conv1, bn1, layer1.0.conv1), also of mmpretrain."""
from collections.abc import Collection
from typing import Any

from ..conversion import Conventions, Conversion, check_resnet, translate
from .torchvision import MEAN, STD

SOURCE = 'ResNet'
DETECTOR = ('neck.', 'rpn_head.', 'roi_head.', 'bbox_head.', 'mask_head.', 'roi_heads.')
CLASSIFIER = r'(fc|head\.fc|last_linear)\.\w+'
DROPPED = [(CLASSIFIER, "ImageNet's classifier")]


def recognizes(names: Collection[str]) -> bool:
    names = {name.removeprefix('backbone.') for name in names if not name.startswith(DETECTOR)} if not any(
        name.startswith(DETECTOR) for name in names) else set()
    return 'layer1.0.conv1.weight' in names and 'layer4.0.conv1.weight' in names


def convert(state: dict[str, Any], path: str) -> Conversion:
    """State dict of tensors -> Conversion. Raises ValueError naming the part that cannot be represented."""
    names = {name.removeprefix('backbone.') for name in state}
    # timm calls every norm bn; one without running statistics is a GroupNorm.
    norm = 'gn' if 'bn1.weight' in names and 'bn1.running_var' not in names else 'bn'
    rules = [
        (r'(?:backbone\.)?((?:layer\d\.\d+\.)?)bn([123])\.(\w+)', rf'\g<1>{norm}\2.\3'),
        (r'(?:backbone\.)?(.*)', r'\1'),
    ]
    result = translate(SOURCE, state, path, rules, DROPPED)
    check_resnet(result, path)
    if result.dropped:  # a classifier's file: torchvision's and timm's images are prepared alike
        result.conventions = Conventions('RGB', MEAN, STD, 'pytorch')
    else:
        result.notes.append('the file does not tell its preprocessing and style: see where it comes from')
    return result
