"""What the report calls the figures of a validation. Logs and results.csv have their keys."""
import re
from typing import NamedTuple

SETS = {'coco': '', 'lvis': 'LVIS ', 'pascal_voc': 'VOC ', 'cityscapes': 'Cityscapes mask '}
KINDS = {'bbox': 'box ', 'segm': 'mask '}
SIZES = {'s': 'small', 'm': 'medium', 'l': 'large', 'r': 'rare', 'c': 'common', 'f': 'frequent'}
AP = re.compile(r'(?:(bbox|segm)_)?m?AP[_@]?(\d+|[smlrcf])?')
AP_OF_CLASS = re.compile(r'(?:(segm)_)?(.+)_precision')
AR = re.compile(r'AR(?:_([sml]))?@(\d+)')


class FigureName(NamedTuple):
    text: str     # where the figure stands alone: box AP50
    group: str    # those that are drawn in one plot: box AP
    item: str     # the figure in its group: AP50


def figure_name(key: str) -> FigureName:
    """The name of coco/bbox_mAP_50, night/coco/bbox_mAP_50, lvis/segm_APr and so on; others have their key."""
    *parts, figure = key.split('/')
    of = ''.join(SETS.get(part, f'{part}: ') for part in parts)
    if match := AP.fullmatch(figure):
        group, which = f'{of}{KINDS.get(match[1], "")}AP', match[2] or ''
        if which in SIZES:
            return FigureName(f'{group} {SIZES[which]}', group, SIZES[which])
        return FigureName(group + which, group, f'AP{which}')
    if match := AP_OF_CLASS.fullmatch(figure):
        group = f'{of}{KINDS[match[1] or "bbox"]}AP of'
        return FigureName(f'{group} {match[2]}', f'{group} each class', match[2])
    if match := AR.fullmatch(figure):
        item = f'{SIZES[match[1]]} at {match[2]}' if match[1] else f'at {match[2]}'
        return FigureName(f'{of}AR {item}', f'{of}AR of proposals', item)
    return FigureName(key, key, figure)
