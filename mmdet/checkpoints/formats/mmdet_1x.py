"""mmdetection 1.x: heads outside `roi_head`, background first. 2.x and 3.x have the names used here."""
from collections.abc import Collection
from typing import Any

from ..conversion import Conventions, Conversion, check_resnet, move_background_last, translate

SOURCE = 'mmdetection 1.x'
RULES = [
    (r'((?:backbone|neck|rpn_head)\..*)', r'\1'),
    (r'((?:bbox_head|mask_head)\..*)', r'roi_head.\1'),
]
REFUSED = [
    (r'mask_iou_head\..*|grid_head\..*|semantic_head\..*|shared_head\..*', 'a third head'),
    (r'bbox_head\.(retina|fcos|atss|ssd|cls_convs|reg_convs).*', 'one-stage head'),
]


def recognizes(names: Collection[str]) -> bool:
    return any(name.startswith(('bbox_head.fc_cls.', 'bbox_head.0.fc_cls.')) for name in names) and not any(
        name.startswith('roi_head.') for name in names)


def convert(state: dict[str, Any], path: str) -> Conversion:
    """State dict of tensors -> Conversion. Raises ValueError naming the part that cannot be represented."""
    result = translate(SOURCE, state, path, RULES, refused=REFUSED)
    move_background_last(result, path)
    depth = check_resnet(result, path)
    kind = 'mask' if any('mask_head' in name for name in result.weights) else 'faster'
    result.conventions = Conventions(aligned=False, box_width='x2 - x1 + 1')
    result.notes.append(f'the preprocessing and the style are those of the config it was trained with; the model is a '
                        f'{kind}_rcnn_r{depth}_fpn whose anchors are rounded and whose RoIAlign has sampling_ratio 2')
    return result
