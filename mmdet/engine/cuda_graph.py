"""A detector's losses and gradients as CUDA graphs: one call in place of the launches of some thousand kernels.

With few images a GPU the host cannot launch kernels as fast as the GPU runs them. A graph is recorded for each shape of
a batch; to keep shapes few, images are padded to multiples of `size_divisor` and objects to multiples of 16.
"""
import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet.errors import UserError
from mmdet.structures import BatchMasks, GroundTruth, Proposals

OBJECTS, PROPOSALS = 16, 256  # multiples of an image's objects and of its ignored regions; of its proposals
PIXELS = 1 << 18  # least space for the pixels of all masks; twice as much where that is too little, and so on


class GraphedLoss:
    """Takes the place of a detector's `loss`.

    A batch of a new shape is recorded the second time that it comes; when `max_graphs` are recorded, batches of further
    shapes run as without graphs, and so does a batch whose gradients are added to those of an earlier one. Graphs share
    their memory.

    Args:
        detector: with loss(inputs, gt).
        size_divisor: of height and width, in pixels; a multiple of the data preprocessor's own.
        max_graphs: graphs kept at most.
    """

    def __init__(self, detector: nn.Module, size_divisor: int = 64, max_graphs: int = 64):
        for name, value in (('size_divisor', size_divisor), ('max_graphs', max_graphs)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f'cuda_graph: {name} must be a whole number above 0, not {value!r}')
        self.detector, self.size_divisor, self.max_graphs = detector, size_divisor, max_graphs
        self._loss: Callable[..., dict[str, Tensor]] = detector.loss  # type: ignore[assignment]
        self._graphs: dict[tuple, tuple[tuple[str, ...], Callable]] = {}
        self._seen: set[tuple] = set()
        self._pool: Any = None

    def __call__(self, inputs: Tensor, gt: GroundTruth) -> dict[str, Tensor]:
        """The losses, 0-dim, by name."""
        inputs, gt = pad(inputs, gt, self.size_divisor)
        # Gradients of the last step that are still there may be a graph's own, which its next run would overwrite.
        accumulates = next(p for p in self.detector.parameters() if p.requires_grad).grad is not None
        if accumulates or not torch.is_grad_enabled() or not self.detector.training:
            return self._loss(inputs, gt)
        tensors = [inputs, *flatten(gt)]
        key = (torch.is_autocast_enabled('cuda'), torch.get_autocast_dtype('cuda'),
               *((tensor.shape, tensor.dtype) for tensor in tensors))
        if key not in self._graphs:
            if key not in self._seen or len(self._graphs) >= self.max_graphs:
                self._seen.add(key)
                return self._loss(inputs, gt)
            self._graphs[key] = self._record(tensors, gt)
        names, graph = self._graphs[key]
        # A copy: the graph's own outputs are overwritten by its next run.
        return {name: value.clone() for name, value in zip(names, graph(*tensors), strict=True)}

    def _record(self, tensors: list[Tensor], gt: GroundTruth) -> tuple[tuple[str, ...], Callable]:
        print_log(f'A CUDA graph is recorded for batches of {tuple(tensors[0].shape)}', logger='current',
                  level=logging.INFO)
        step = _Loss(self.detector, self._loss, gt)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        # Recording runs the step some times: statistics and random numbers shall not know.
        buffers = [(buffer, buffer.clone()) for buffer in self.detector.buffers()]
        state = torch.cuda.get_rng_state()
        with torch.autocast('cuda', torch.get_autocast_dtype('cuda'), torch.is_autocast_enabled('cuda'),
                            cache_enabled=False):  # what the cache holds would lie in the graph
            graph = torch.cuda.make_graphed_callables(step, tuple(tensor.clone() for tensor in tensors),
                                                      allow_unused_input=True, pool=self._pool)
        torch.cuda.set_rng_state(state)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        return step.names, graph


class _Loss(nn.Module):
    """The losses as a module from tensors to tensors."""

    def __init__(self, detector: nn.Module, loss: Callable[..., dict[str, Tensor]], gt: GroundTruth):
        super().__init__()
        self.detector, self.loss, self.gt = detector, loss, gt
        self.names: tuple[str, ...] = ()

    def forward(self, inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        losses = self.loss(inputs, unflatten(tensors, self.gt))
        self.names = tuple(losses)
        return tuple(losses.values())


def pad(inputs: Tensor, gt: GroundTruth, size_divisor: int) -> tuple[Tensor, GroundTruth]:
    """Inputs (B, 3, H, W) and ground truth in one of few shapes; what is added is marked as not real."""
    height, width = (-side % size_divisor for side in inputs.shape[2:])
    inputs = F.pad(inputs, (0, width, 0, height))
    more = -gt.boxes.shape[1] % OBJECTS
    masks = gt.masks
    if masks is not None:
        space = PIXELS
        while space < len(masks.pixels):
            space *= 2
        # As many windows as there are rows for objects.
        masks = BatchMasks(F.pad(masks.pixels, (0, space - len(masks.pixels))),
                           F.pad(masks.boxes, (0, 0, 0, gt.valid.shape[0] * (gt.valid.shape[1] + more) -
                                               len(masks.boxes))))
    proposals = gt.proposals
    if proposals is not None:
        rows = -proposals.valid.shape[1] % PROPOSALS
        proposals = Proposals(F.pad(proposals.boxes, (0, 0, 0, rows)), F.pad(proposals.valid, (0, rows)))
    return inputs, gt._replace(
        boxes=F.pad(gt.boxes, (0, 0, 0, more)), labels=F.pad(gt.labels, (0, more)), valid=F.pad(gt.valid, (0, more)),
        ignored=F.pad(gt.ignored, (0, 0, 0, -gt.ignored.shape[1] % OBJECTS)), mask_rows=F.pad(gt.mask_rows, (0, more)),
        masks=masks, proposals=proposals)


def flatten(gt: GroundTruth) -> list[Tensor]:
    """The tensors of a GroundTruth."""
    return [tensor for field in gt if field is not None for tensor in (field if isinstance(field, tuple) else (field,))]


def unflatten(tensors: tuple[Tensor, ...], like: GroundTruth) -> GroundTruth:
    """The GroundTruth of `flatten`'s tensors, with the fields that `like` has."""
    left, fields = iter(tensors), []
    for field in like:
        own = [next(left) for _ in (field if isinstance(field, tuple) else () if field is None else (field,))]
        fields.append(type(field)(*own) if isinstance(field, tuple) else own[0] if own else None)
    return GroundTruth(*fields)  # type: ignore[arg-type]  # each of its own kind


def use_cuda_graphs(detector: nn.Module, options: bool | dict) -> None:
    """Let `detector` compute losses and gradients by CUDA graphs.

    Args:
        options: `cuda_graph` of a config: True, or a dict of GraphedLoss' options.

    Raises:
        ValueError: options that are none, no GPU, or norms whose training is not the same from step to step.
    """
    if not torch.cuda.is_available():
        raise UserError('cuda_graph: there is no GPU')
    norms = {type(module).__name__ for module in detector.modules() if getattr(module, 'breaks_graphs', False)}
    if norms:
        raise UserError(f'cuda_graph: the training of {", ".join(sorted(norms))} is another from step to step, which '
                        'a graph cannot repeat')
    if options is not True and (not isinstance(options, dict) or not options.keys() <= {'size_divisor', 'max_graphs'}):
        raise UserError(f'cuda_graph={options!r} must be True, False or a dict of size_divisor and max_graphs')
    detector.loss = GraphedLoss(detector, **({} if options is True else options))  # type: ignore[assignment, arg-type]
