"""One iteration of Cross-Iteration BN, all channels at once; mmdet/models/layers/cbn.py has its mathematics."""
import torch
from torch import Tensor

from mmdet.ops.arguments import check_whole
from mmdet.ops.extension import SERVED, fake

HISTORY = ('patch', 'slope', 'mean', 'mean0', 'var0')


def cbn_statistics(weight: Tensor, bias: Tensor | None, history: dict[str, Tensor], patch: Tensor, slope: Tensor,
                   mean: Tensor, variance: Tensor, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Pools the statistics of this iteration and of stored ones, and stores this one's.

    S slots, G groups, P weights of an output channel; all float32 or all float64, on one device, contiguous.

    Args:
        weight (Tensor): (Cout, P), the convolution's, of today.
        bias (Tensor or None): (Cout,).
        history (dict): patch (S, G, P), slope (S, Cout, P), mean, mean0 and var0 (S, Cout), changed in place.
        patch (Tensor): (G, P), derivative of this iteration's means by the weights.
        slope (Tensor): (Cout, P), derivative of its variances.
        mean (Tensor): (Cout,), as measured in this iteration.
        variance (Tensor): (Cout,), likewise.
        first (int): slot of the oldest iteration to pool; the next slots have the later ones, slot 0 follows the last.
        count (int): how many stored iterations to pool. This iteration goes into the slot after them.

    Returns:
        tuple: mean and variance, each (Cout,), of the mixture of the `count` + 1 iterations, equal shares.

    Raises:
        ValueError: shapes, devices, slots or memory that do not fit. TypeError: dtypes that do not.
    """
    missing = [name for name in HISTORY if name not in history]
    if missing:
        raise ValueError(f'cbn_statistics: the history has no {", ".join(missing)}')
    stored = [history[name] for name in HISTORY]
    _check(weight, bias, stored, patch, slope, mean, variance, first, count)
    compute = torch.ops.mmdet.cbn_statistics if SERVED[weight.device.type] else _slow
    return compute(weight, bias, *stored, patch, slope, mean, variance, first, count)  # type: ignore[call-arg]


def _check(weight, bias, stored, patch, slope, mean, variance, first, count):
    if weight.dim() != 2 or patch.dim() != 2 or stored[0].dim() != 3:
        raise ValueError('cbn_statistics: weight must be (Cout, P), patch (G, P) and history["patch"] (S, G, P), got '
                         f'{tuple(weight.shape)}, {tuple(patch.shape)} and {tuple(stored[0].shape)}')
    (channels, size), groups, slots = weight.shape, len(patch), len(stored[0])
    tensors = [weight, patch, slope, mean, variance, *stored, *([] if bias is None else [bias])]
    wanted = [(channels, size), (groups, size), (channels, size), (channels,), (channels,), (slots, groups, size),
              (slots, channels, size), (slots, channels), (slots, channels), (slots, channels), (channels,)]
    if any(tensor.shape != shape for tensor, shape in zip(tensors, wanted, strict=False)):
        raise ValueError('cbn_statistics: weight, patch, slope, mean, variance, the history and bias must be '
                         f'{wanted}, got {[tuple(tensor.shape) for tensor in tensors]}')
    if groups == 0 or channels % groups:
        raise ValueError(f'cbn_statistics: {groups} groups do not divide {channels} channels')
    check_whole('cbn_statistics', first=first, count=count)
    if not 0 <= first < slots or not 0 <= count <= slots:
        raise ValueError(f'cbn_statistics: first={first} and count={count} do not lie in {slots} slots')
    if weight.dtype not in (torch.float32, torch.float64) or any(tensor.dtype != weight.dtype for tensor in tensors):
        raise TypeError('cbn_statistics: all must be float32 or all float64, got '
                        f'{[tensor.dtype for tensor in tensors]}')
    if any(tensor.device != weight.device or not tensor.is_contiguous() for tensor in tensors):
        raise ValueError('cbn_statistics: all tensors must be contiguous and on one device, got '
                         f'{[(str(tensor.device), tensor.stride()) for tensor in tensors]}')


def _slow(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope, own_mean, own_var, first, count):
    def by_weights(patches, slopes):
        """Means and variances (S, Cout) that are linear in the weights of today."""
        of_groups = weight.unflatten(0, (patches.size(1), -1))
        means = torch.einsum('sgp,gop->sgo', patches, of_groups).flatten(1)
        return means if bias is None else means + bias, (slopes * weight).sum(2)

    slots = [(first + entry) % slope.size(0) for entry in range(count)]
    linear_mean, linear_var = by_weights(patch[slots], slope[slots])
    shift = linear_mean - mean0[slots]
    means = torch.cat([own_mean[None], mean[slots] + shift])
    variances = torch.cat([own_var[None], (var0[slots] + linear_var - shift.square()).clamp(min=0)])
    slot = (first + count) % slope.size(0)
    patch[slot], slope[slot], mean[slot] = new_patch, new_slope, own_mean
    (mean0[slot],), (linear_var,) = by_weights(patch[slot, None], slope[slot, None])
    var0[slot] = own_var - linear_var
    pooled = means.mean(0)
    return pooled, variances.mean(0) + (means - pooled).square().mean(0)


@fake('cbn_statistics')
def _fake(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope, own_mean, own_var, first, count):
    return torch.empty_like(own_mean), torch.empty_like(own_var)
