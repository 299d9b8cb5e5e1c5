"""The fake CUDA device of mmdet.apis.operator_log, and `Transfers`, which notes copies that wait."""
import traceback

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdet.apis.operator_log.fake_device import backward, move

__all__ = ['Transfers', 'backward', 'move']
COPIES = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default


class Transfers(TorchDispatchMode):
    """Lines of code that bring a tensor to the device or from it and wait for it.

    Numbers, 0-dim on the CPU, travel with a kernel. What is asked not to block is taken to lie in pinned memory.
    """

    def __init__(self):
        super().__init__()
        self.lines = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        on_cpu = [tensor for tensor in tensors if tensor.device.type == 'cpu']
        waits = function in COPIES and not (kwargs or {}).get('non_blocking')
        if 0 < len(on_cpu) < len(tensors) and (waits or function not in COPIES and any(map(Tensor.dim, on_cpu))):
            ours = [frame for frame in traceback.extract_stack() if '/mmdet/' in frame.filename]
            self.lines.append(f'{ours[-1].filename}:{ours[-1].lineno}' if ours else str(function))
        return out
