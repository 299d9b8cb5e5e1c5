"""One iteration of Cross-Iteration BN, all channels at once; mmdet/models/layers/cbn.py has its mathematics."""
from mmdet.ops.dispatch import kernels


def cbn_statistics(weight, bias, history, patch, slope, mean, variance, first, count):
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
    """
    return kernels[weight.device.type].cbn_statistics(
        weight, bias, *(history[name] for name in ('patch', 'slope', 'mean', 'mean0', 'var0')), patch, slope, mean,
        variance, first, count)
