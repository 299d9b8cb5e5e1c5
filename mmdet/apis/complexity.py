"""Multiplications, parameters and activations of a detector, counted without computing anything."""
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
        detector: TwoStageDetector, in evaluation mode.
        height, width: of the padded image in pixels.
    """
    counter = _Counter()
    model: Any = detector
    handles = [handle for name, module in detector.named_modules() for handle in (
        module.register_forward_pre_hook(counter.entering(name)), module.register_forward_hook(counter.leaving))]
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
            image = next(detector.parameters()).new_zeros(1, 3, height, width)
            model.rpn_head(model.extract_feat(image))
            proposals, detections = num_rois(model)
            head = model.roi_head
            head.bbox_head(counter.roi_align(image, head.bbox_roi_extractor, 'roi_head.bbox_roi_extractor', proposals))
            if head.mask_head is not None:
                name = 'roi_head.mask_roi_extractor'
                head.mask_head(counter.roi_align(image, head.mask_roi_extractor, name, detections))
    finally:
        for handle in handles:
            handle.remove()
    return Costs(counter.costs)


def num_rois(detector: nn.Module) -> tuple[int, int]:
    """Proposals and detections of an image, as test_cfg limits them."""
    model: Any = detector
    proposals, detections = model.rpn_head.test_cfg['max_per_img'], model.roi_head.test_cfg['max_per_img']
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

    def roi_align(self, image: Tensor, extractor: Any, name: str, num: int) -> Tensor:
        """Features (num, C, h, w) of no content."""
        size = extractor.roi_layer.output_size
        size = (size, size) if isinstance(size, int) else size
        out = image.new_zeros(num, extractor.out_channels, *size)
        samples = (extractor.roi_layer.sampling_ratio or ADAPTIVE_SAMPLES)**2
        self.costs[name] += Cost(8 * samples * out.numel(), out.numel())
        return out
