"""Multiplications, parameters and activations of a detector, counted without computing anything."""
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ADAPTIVE_SAMPLES = 2  # a bin and axis, where sampling_ratio=0 lets the size of the RoI decide


@dataclass
class Cost:
    """FLOPs (2 for a multiplication with its addition), and the values that the counted operators put out."""
    flops: int = 0
    activations: int = 0

    def __add__(self, other: 'Cost') -> 'Cost':
        return Cost(self.flops + other.flops, self.activations + other.activations)


class Costs(dict[str, Cost]):
    """Name of a layer -> its own cost."""

    def under(self, name: str) -> Cost:
        """The cost of a part and all in it; '' is the whole detector."""
        return sum((cost for layer, cost in self.items() if not name or f'{layer}.'.startswith(f'{name}.')), Cost())


def count_costs(detector: nn.Module, height: int, width: int) -> Costs:
    """What one image costs from pixels to logits of boxes and masks: both stages, as many RoIs as test_cfg allows.

    Counted are convolutions, matrix products and RoIAlign (4 weighted pixels a sample); norms, activation functions,
    resizing, box decoding and NMS are not. What kernel serves makes no difference.

    Args:
        detector: one of mmdet.models.detectors, in evaluation mode.
        height, width: of the padded image in pixels.
    """
    counter = _Counter()
    model: Any = detector
    handles = [handle for name, module in detector.named_modules() for handle in (
        module.register_forward_pre_hook(counter.entering(name)), module.register_forward_hook(counter.leaving))]
    stages = getattr(getattr(model, 'roi_head', None), 'stages', ())
    extractors = {getattr(stage, name) for stage in stages
                  for name in ('bbox_roi_extractor', 'mask_roi_extractor') if hasattr(stage, name)}
    for extractor in extractors:
        extractor.forward = partial(counter.roi_align, extractor)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
            image = next(detector.parameters()).new_zeros(1, 3, height, width)
            features = model.extract_feat(image)
            rpn = getattr(model, 'rpn_head', None) or getattr(model, 'bbox_head', None)
            if rpn is not None:
                rpn(features)
            proposals, detections = (image.new_zeros(num, 5) for num in num_rois(model))
            for stage in stages:
                stage.box_outputs(features, proposals)
                if stage.mask_head is not None:
                    stage.mask_head(stage.mask_features(features, detections))
    finally:
        for extractor in extractors:
            del extractor.forward
        for handle in handles:
            handle.remove()
    return Costs(counter.costs)


def num_rois(detector: nn.Module) -> tuple[int, int]:
    """Proposals and detections of an image, as test_cfg limits them; without an RPN 1000 proposals."""
    model: Any = detector
    rpn = getattr(model, 'rpn_head', None) or getattr(model, 'bbox_head', None)
    proposals = 1000 if rpn is None else rpn.test_cfg['max_per_img']
    if not hasattr(model, 'roi_head'):
        return proposals, 0
    detections = model.roi_head.test_cfg['max_per_img']
    return proposals, detections if detections >= 0 else proposals


class _Counter(TorchDispatchMode):
    """Adds what an operator costs to the innermost module that runs.

    A convolution with a hook is called, not fused with its norm, so that it has a line of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)
        self.running = ['']

    def entering(self, name: str) -> Callable:
        return lambda module, args: self.running.append(name)

    def leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        self.running.pop()

    def __torch_dispatch__(self, func: Any, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if func._schema.name == 'mmdet::conv_3x3':
            self.costs[self.running[-1]] += Cost(2 * out.numel() * args[1][0].numel(), out.numel())
        elif formula is not None:
            self.costs[self.running[-1]] += Cost(formula(*args, **kwargs, out_val=out), out.numel())
        return out

    def roi_align(self, extractor: Any, features: Sequence[Tensor], rois: Tensor, *args: Any) -> Tensor:
        """In place of the extractor's forward: features (num, C, h, w) of no content."""
        size = extractor.roi_layer.output_size
        size = (size, size) if isinstance(size, int) else size
        out = rois.new_zeros(len(rois), extractor.out_channels, *size)
        samples = (extractor.roi_layer.sampling_ratio or ADAPTIVE_SAMPLES)**2
        self.costs[self.running[-1]] += Cost(8 * samples * out.numel(), out.numel())
        return out
