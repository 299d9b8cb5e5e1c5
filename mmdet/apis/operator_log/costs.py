"""What an operator of PyTorch or of ours costs a GPU: launches, bytes that it reads and writes, FLOP.

Every tensor counts as read or written once, by as many elements as lie in memory, and caches keep nothing from one
operator to the next. So the figures are of the least traffic, not of what a kernel really causes.
"""
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._pytree import tree_leaves

# They give out memory, or views that their schema does not call one.
FREE = {'empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', '_unsafe_view', 'lift_fresh',
        '_reshape_alias', '_local_scalar_dense'}
WRITE_ONLY = {'fill_', 'zero_', 'copy_', 'normal_', 'uniform_', 'random_'}
READ_NOTHING = {'new_zeros', 'new_ones', 'new_full', 'zeros_like', 'ones_like', 'full_like', 'rand_like'}
GATHERS = {'gather', 'index', 'index_select'}  # read as much of their input as they put out
# A norm in training reads its features once for the statistics and once more to apply them, its backward pass likewise.
TWICE = {'native_batch_norm', '_native_batch_norm_legit', '_batch_norm_with_update', 'cudnn_batch_norm',
         'native_group_norm', 'group_norm', 'native_batch_norm_backward', 'batch_norm_backward',
         'cudnn_batch_norm_backward', 'native_group_norm_backward', 'group_norm_backward'}
# Tensors and blocks of 65,536 elements that one launch of a kernel for lists holds, by the number of lists.
TENSORS_A_LAUNCH, BLOCKS_A_LAUNCH, BLOCK = (110, 64, 48, 36, 30), 320, 65536


class Cost(NamedTuple):
    launches: int
    read: int     # bytes
    written: int  # bytes
    flop: int
    floor: float  # seconds


class Device(NamedTuple):
    bandwidth: float  # bytes a second
    speed: float      # FLOP a second

    def floor(self, num_bytes: int, flop: int) -> float:
        """Seconds that a kernel takes at least."""
        return max(num_bytes / self.bandwidth, flop / self.speed)


def size(value: Any) -> int:
    """Bytes of all tensors in `value`; what is expanded lies in memory once."""
    return sum(leaf.element_size() * math.prod(n for n, step in zip(leaf.shape, leaf.stride()) if step or n == 0)
               for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def cost(function: Any, args: Sequence, kwargs: dict, out: Any, device: Device) -> Cost | None:
    """Of a call of an operator with what it returned; None where it only makes views or gives out memory."""
    name, schema = function._schema.name.split('::')[1], function._schema
    views = [returned.alias_info is not None and not returned.alias_info.is_write for returned in schema.returns]
    if schema.name.startswith('prim::') or name in FREE or (views and all(views)):
        return None
    if name == 'convolution_backward':
        return _convolution_backward(args, out, device)
    given = dict(zip((argument.name for argument in schema.arguments), args)) | kwargs
    changed = [given[argument.name] for argument in schema.arguments
               if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given]
    returned = out if isinstance(out, (tuple, list)) and len(schema.returns) > 1 else [out]
    written = size(changed) + size([value for value, of in zip(returned, schema.returns) if of.alias_info is None])
    unread = changed if name in WRITE_ONLY else [given.get(argument.name) for argument in schema.arguments
                                                 if argument.is_out]
    read = 0 if name in READ_NOTHING else size([args, kwargs]) - size(unread)
    if name in GATHERS:
        read += size(out) - size(args[0])
    elif name.startswith('scatter') and changed:  # in place: only the elements that are named
        read, written = size(args[1:]), args[2].numel() * args[0].element_size()
    elif name in TWICE and given.get('training', True) and given.get('output_mask', [True])[0]:
        read += size([value for value in args[:2] if isinstance(value, Tensor) and value.dim() == 4])
    elif name == 'roi_align':
        read += min(0, 16 * size(out) - size(args[0]))  # four samples a bin, of four pixels each
    elif name == 'roi_align_backward':  # zeros first, then sums where RoIs lie
        touched = min(size(out), 16 * size(args[0]))
        read, written = read + touched, written + touched
    flop = _flop(name, args, out)
    return Cost(_launches(name, args), read, written, flop, device.floor(read + written, flop))


def _convolution_backward(args, out, device):
    """The gradients of input, weights and bias are a kernel each."""
    grad, x, weight, transposed = args[0], args[1], args[2], args[7]
    rows = x if transposed else grad
    flop = 2 * rows.numel() * weight[0].numel()
    parts = [(size([grad, weight]), size(out[0]), flop), (size([grad, x]), size(out[1]), flop),
             (size(grad), size(out[2]), grad.numel())]
    parts = [part for part, wanted in zip(parts, args[-1]) if wanted]
    read, written, flops = (sum(column) for column in zip(*parts))
    return Cost(len(parts), read, written, flops,
                sum(device.floor(of_read + of_written, flop) for of_read, of_written, flop in parts))


def _flop(name, args, out):
    if name in ('convolution', '_convolution') or name.startswith('cudnn_convolution'):
        transposed = not name.startswith('cudnn') and args[6]
        return 2 * (args[0] if transposed else out).numel() * args[1][0].numel()
    if name in ('mm', 'bmm'):
        return 2 * out.numel() * args[0].shape[-1]
    if name in ('addmm', 'baddbmm'):
        return 2 * out.numel() * args[1].shape[-1]
    return 0


def _launches(name, args):
    """1, but for the optimizers' kernels for lists of tensors."""
    lists = [value for value in args if isinstance(value, (tuple, list)) and value and isinstance(value[0], Tensor)]
    if not name.startswith(('_foreach_', '_fused_')) or not lists:
        return 1
    launches = tensors = blocks = 0
    limit = TENSORS_A_LAUNCH[min(len(lists), len(TENSORS_A_LAUNCH)) - 1]
    for tensor in lists[0]:
        left = -(-tensor.numel() // BLOCK)
        tensors += 1
        while blocks + left > BLOCKS_A_LAUNCH:
            launches, left, tensors, blocks = launches + 1, left + blocks - BLOCKS_A_LAUNCH, 1, 0
        blocks += left
        if tensors == limit:
            launches, tensors, blocks = launches + 1, 0, 0
    return launches + (tensors > 0)
