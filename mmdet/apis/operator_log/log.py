"""The log of a step's operators: who called each, and what it costs."""
import inspect
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .costs import Cost, Device, cost

# The innermost of a call's files that is named here says which part of the step it is.
PARTS = {'task_modules/matching': 'assigning, sampling', 'task_modules/samplers': 'assigning, sampling',
         'models/losses': 'losses', 'models/iou_losses': 'losses', 'models/backbones': 'backbone',
         'models/necks': 'neck', 'models/dense_heads': 'RPN', 'models/roi_heads': 'RoI heads',
         'engine/cuda_graph': 'into and out of the graph', 'models/data_preprocessor': 'preparing the batch',
         'torch/optim': 'optimizer'}
IN_GRAPH = 'graph', ''


class Entry(NamedTuple):
    part: str
    operator: str
    line: str
    cost: Cost


class OperatorLog(TorchDispatchMode):
    """Notes the operators on the device while it is entered.

    Attributes:
        entries: of all operators that take time.
        kept: bytes of the tensors kept until backward, parameters not among them.
    """

    def __init__(self, device: Device):
        super().__init__()
        self.device, self.kept, self.entries = device, 0, list[Entry]()
        self._made_by: dict[int, tuple[str, str]] = {}  # number of a node of autograd's graph -> part, line
        self._node: tuple[str, str] | None = None
        self._paused = False

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if not any(isinstance(leaf, torch.Tensor) and leaf.is_cuda for leaf in tree_leaves((args, kwargs, out))):
            return out
        where = self._node or (IN_GRAPH if self._paused else _caller())
        self._made_by[torch.autograd._get_sequence_nr() - 1] = where
        found = cost(function, args, kwargs or {}, out, self.device)
        if found is not None and where != IN_GRAPH:
            self.entries.append(Entry(where[0], function._schema.name.replace('::', '.'), where[1], found))
        return out

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What runs now, and its backward pass, is not noted."""
        self._paused = True
        yield
        self._paused = False

    def stand_at(self, node: Any) -> None:
        """What follows belongs to the backward pass of this node of autograd's graph; None: to no node's."""
        if node is None or not hasattr(node, '_sequence_nr'):
            self._node = None
            return
        part, line = self._made_by.get(node._sequence_nr(), ('losses', ''))
        self._node = IN_GRAPH if (part, line) == IN_GRAPH else (f'{part}, backward', line)

    def sums(self, entries: list[Entry]) -> list[str]:
        """Cells: operators, launches, GB read, GB written, TFLOP, floor in ms."""
        launches, read, written, flop, floor = (sum(column) for column in zip(*(e.cost for e in entries)))
        return [f'{len(entries):,}', f'{launches:,}', f'{read / 1e9:.2f}', f'{written / 1e9:.2f}',
                f'{flop / 1e12:.2f}', f'{floor * 1e3:.2f}']

    def table(self, by: str) -> list[list[str]]:
        """Rows of `by`, 'part', 'operator' or 'line', with their sums; parts as they come, others by their floor."""
        groups = defaultdict(list)
        for entry in self.entries:
            groups[getattr(entry, by)].append(entry)
        order = list(groups) if by == 'part' else sorted(
            groups, key=lambda key: -sum(entry.cost.floor for entry in groups[key]))
        return [[key, *self.sums(groups[key])] for key in order]


def _caller():
    """Part of the step and line of our code that called the operator."""
    frame, line = inspect.currentframe().f_back.f_back, ''
    while frame:
        path = frame.f_code.co_filename
        if not line and '/mmdet/' in path:
            line = f"{path.rpartition('/mmdet/')[2]}:{frame.f_lineno}"
        for key, part in PARTS.items():
            if f'/{key}' in path:
                return part, line
        frame = frame.f_back
    return 'other', line
