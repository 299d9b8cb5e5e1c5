"""The interface between the readers of foreign checkpoints and the rest: weights under our names, and what they need.

A reader (a file of `formats`) tells by the names of a file whether it is its own, and turns it into a Conversion.
"""
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from mmdet.errors import UserError

CLS, REG, MASK = 'roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg', 'roi_head.mask_head.conv_logits'


@dataclass(frozen=True)
class Conventions:
    """How a model must see its images and boxes for the weights to be right; None: the file does not tell."""
    order: str | None = None                    # of the channels, 'RGB' or 'BGR'
    mean: tuple[float, ...] | None = None       # in this order, for pixels of 0 to 255
    std: tuple[float, ...] | None = None
    style: str | None = None                    # where a bottleneck strides: its 1x1 ('caffe') or 3x3 ('pytorch')
    aligned: bool | None = None                 # of RoIAlign
    box_width: str | None = None                # 'x2 - x1' or 'x2 - x1 + 1'
    config: str | None = None                   # the one that says all of this

    def __str__(self) -> str:
        known = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}
        return ', '.join(f'{name} {_text(value)}' for name, value in known.items())

    def conflicts(self, model: nn.Module) -> list[str]:
        """What differs in `model`, a sentence for each: what the weights need and what the model has."""
        found = []

        def compare(what: str, needed: object, have: object) -> None:
            if needed is not None and needed != have:
                found.append(f'{what}: the weights need {_text(needed)}, the model has {_text(have)}')
        preprocessor: Any = getattr(model, 'data_preprocessor', None)
        if hasattr(preprocessor, 'reverse_channels'):
            compare('data_preprocessor channel order', self.order, 'RGB' if preprocessor.reverse_channels else 'BGR')
            for name in ('mean', 'std'):
                needed, have = getattr(self, name), tuple(getattr(preprocessor, name).flatten().tolist())
                if needed is not None and not torch.allclose(torch.tensor(needed), torch.tensor(have), atol=0.01):
                    compare(f'data_preprocessor.{name}', needed, have)
        modules = dict(model.named_modules())
        conv = modules.get('backbone.layer2.0.conv1', modules.get('layer2.0.conv1'))
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1):
            compare('backbone.style', self.style, 'caffe' if conv.stride == (2, 2) else 'pytorch')
        for extractor in ('bbox_roi_extractor', 'mask_roi_extractor'):
            layer: Any = modules.get(f'roi_head.{extractor}.roi_layers.0')
            if hasattr(layer, 'aligned'):
                compare(f'roi_head.{extractor}.roi_layer.aligned', self.aligned, layer.aligned)
        return found


def _text(value: object) -> str:
    return '(' + ', '.join(f'{number:g}' for number in value) + ')' if isinstance(value, tuple) else str(value)


@dataclass
class Conversion:
    """What became of a foreign checkpoint."""
    source: str                                                     # its origin
    part: str                                                       # 'detector', or 'backbone', without `backbone.`
    weights: dict[str, Tensor]                                      # under our names
    renamed: dict[str, str] = field(default_factory=dict)           # name in the file -> ours
    dropped: dict[str, str] = field(default_factory=dict)           # name in the file -> why
    unknown: list[str] = field(default_factory=list)                # names that stay as they are: nothing takes them
    conventions: Conventions = Conventions()
    notes: list[str] = field(default_factory=list)                  # what else a user should know
    choices: dict[int, list[int]] = field(default_factory=dict)     # number of classes -> the rows to keep for it

    @property
    def num_classes(self) -> int | None:
        return next((len(value) - 1 for name, value in self.weights.items()
                     if output_of(name) == CLS and name.endswith('.weight')), None)

    def __str__(self) -> str:
        """A short table."""
        changed = sum(name != new for name, new in self.renamed.items())
        read = len(self.renamed) + len(self.dropped) + len(self.unknown)
        lines = [f'{self.source}, {self.part}: {read} entries read, {changed} renamed']
        reasons: dict[str, list[str]] = {}
        for name, why in self.dropped.items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            lines.append(f'  {"dropped":<12} {len(names):>4}  {_few(names)}: {why}')
        if self.unknown:
            lines.append(f'  {"left over":<12} {len(self.unknown):>4}  {_few(self.unknown)}')
        lines += [f'  {"note":<12}       {note}' for note in self.notes]
        lines.append(f'  {"conventions":<12}       {self.conventions}')
        return '\n'.join(lines)

    def for_classes(self, num_classes: int | None) -> dict[str, Tensor]:
        """The weights for a model of `num_classes`; unchanged when there is no known choice of classes."""
        if num_classes not in self.choices:
            return self.weights
        rows = torch.tensor(self.choices[num_classes])
        weights = dict(self.weights)
        for name, value in self.weights.items():
            head = output_of(name)
            if head == CLS:
                weights[name] = value[torch.cat([rows, torch.tensor([len(value) - 1])])]
            elif head == REG:
                weights[name] = value.unflatten(0, (-1, 4))[rows].flatten(0, 1)
            elif head == MASK:
                weights[name] = value[rows]
        return weights


def output_of(name: str) -> str:
    """The layer of an entry; of the stages of a cascade as if there were one."""
    return re.sub(r'(?<=bbox_head|mask_head)\.\d+(?=\.)', '', name.rpartition('.')[0])


def _few(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def translate(source: str, state: Mapping[str, Any], path: str, rules: Iterable[tuple[str, str | Callable]],
              dropped: Iterable[tuple[str, str]] = (), refused: Iterable[tuple[str, str]] = ()) -> Conversion:
    """Rename all entries of `state`.

    Args:
        source, path: the origin and the file, for errors.
        rules: pairs of the pattern of a whole name in the file, and its name here: text that re.Match.expand takes, or
            a function of the match.
        dropped: pairs of a pattern and why its entries are left out.
        refused: pairs of the pattern of a part that no model here has, and what it is.

    Raises:
        ValueError: a refused part, or two entries of one name.
    """
    rules, dropped, refused = list(rules), list(dropped), list(refused)
    result = Conversion(source, 'detector', {})
    for name, value in state.items():
        part = next((part for pattern, part in refused if re.fullmatch(pattern, name)), None)
        if part:
            raise UserError(f'{path} ({source}) has a part that no model here has: {part}, in {name}. '
                            'Faster and Mask R-CNN on ResNet-FPN can be read')
        why = next((why for pattern, why in dropped if re.fullmatch(pattern, name)), None)
        if why is None and not isinstance(value, Tensor):
            why = 'no array'
        if why:
            result.dropped[name] = why
            continue
        for pattern, rule in rules:
            if match := re.fullmatch(pattern, name):
                new = rule(match) if callable(rule) else match.expand(rule)
                break
        else:
            result.unknown.append(name)
            new = name
        if new in result.weights:
            raise UserError(f'{path} ({source}): two entries for {new}, one of them {name}')
        if name not in result.unknown:
            result.renamed[name] = new
        result.weights[new] = value
    if not any(name.startswith(('backbone.', 'neck.', 'rpn_head.', 'roi_head.')) for name in result.weights):
        result.part = 'backbone'
    return result


def move_background_last(result: Conversion, path: str) -> None:
    """The classes' rows from background first to background last; boxes and masks of background are dropped."""
    weights = result.weights
    for name, value in weights.items():
        head = output_of(name)
        if head in (CLS, REG, MASK) and (value.dim() == 0 or (head == REG and len(value) % 4)):
            raise UserError(f'{path}: {name} has shape {tuple(value.shape)}, whose rows are no classes')
        if head == CLS:
            weights[name] = torch.cat([value[1:], value[:1]])
        elif head == REG and len(value) > 4:  # 4: one box whatever the class
            weights[name] = value[4:]
        elif head == MASK and len(value) > 1:
            weights[name] = value[1:]


# Blocks of each stage -> the depth with basic blocks, and with bottlenecks.
DEPTHS: dict[tuple[int, ...], tuple[int | None, int | None]] = {
    (2, 2, 2, 2): (18, None), (3, 4, 6, 3): (34, 50), (3, 4, 23, 3): (None, 101), (3, 8, 36, 3): (None, 152)}
IN_A_RESNET = re.compile(r'conv1\.weight|(bn|gn)1\.\w+|layer[1-4]\.\d+\.((conv|bn|gn)[123]|downsample\.[01])\.\w+')


def check_resnet(result: Conversion, path: str) -> int | None:
    """The depth of the converted ResNet (None: the file holds no backbone).

    Raises ValueError naming the part of the backbone that the ResNet here cannot represent.
    """
    prefix = 'backbone.' if result.part == 'detector' else ''
    weights = {name.removeprefix(prefix): value for name, value in result.weights.items() if name.startswith(prefix)}
    if not weights:
        return None

    def refuse(part: str) -> NoReturn:
        raise UserError(f'{path} ({result.source}): the backbone has {part}, which the ResNet here does not have')
    for name, value in weights.items():
        if re.match(r'stem\.|conv1\.\d', name):
            refuse(f'a stem of several convolutions ({name})')
        if name.startswith('layer') and not IN_A_RESNET.fullmatch(name):
            refuse(f'the part {name}')
        if re.fullmatch(r'layer\d\.\d+\.downsample\.1\.weight', name) and value.dim() != 1:
            refuse(f'shortcuts that average before they convolve ({name})')
    stem = weights.get('conv1.weight')
    if stem is None or stem.shape[1:] != (3, 7, 7):
        refuse('no 7x7 convolution of 3 channels as conv1.weight' if stem is None else
               f'conv1.weight of shape {tuple(stem.shape)}, not (channels, 3, 7, 7)')
    blocks = {tuple(map(int, match.groups())) for name in weights
              if (match := re.match(r'layer(\d)\.(\d+)\.', name))}
    counts = tuple(sum(stage == s for stage, _ in blocks) for s in range(1, 5))
    bottleneck = 'layer1.0.conv3.weight' in weights
    depth = DEPTHS.get(counts, (None, None))[bottleneck]
    if depth is None:
        refuse(f'stages of {counts} {"bottlenecks" if bottleneck else "basic blocks"}')
    for stage, block in blocks:
        convs = [weights.get(f'layer{stage}.{block}.conv{i}.weight') for i in (1, 2, 3)][:2 + bottleneck]
        kernels = [conv for conv in convs if conv is not None and conv.dim() == 4]
        if len(kernels) < len(convs):
            refuse(f'a block without its convolutions (layer{stage}.{block})')
        if kernels[1].shape[1] != len(kernels[0]):
            refuse(f'convolutions in groups, as ResNeXt has (layer{stage}.{block}.conv2.weight)')
        if len(kernels[0]) != len(stem) * 2 ** (stage - 1):
            refuse(f'a stage {stage} of {len(kernels[0])} channels (layer{stage}.{block}.conv1.weight)')
    return depth
