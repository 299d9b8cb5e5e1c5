"""The weight gradient of a convolution, by itself."""
import torch

from mmdet.ops.dispatch import kernels

LEAST_TILES = 32  # of 4 x 4 output positions; for fewer, what is made of the weights takes longer than what is saved


def conv2d_weight_grad(x, weight, grad, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """The sum over all output positions of the gradient there times the input patch under it.

    On CPUs that of 3x3 convolutions takes our own kernel half of the time of PyTorch's, in float32 with stride 1: Winograd's
    minimal filtering. Its rounding error is as large as that of PyTorch's.

    Args:
        x (Tensor): (B, Cin, H, W).
        weight (Tensor): (Cout, Cin/groups, kh, kw), of which only the shape and memory format count.
        grad (Tensor): (B, Cout, H', W'), of x's dtype.
        stride, padding, dilation, groups: the convolution's.

    Returns:
        Tensor: (Cout, Cin/groups, kh, kw).
    """
    if _is_filtered(x, weight, grad, stride, dilation, groups):
        x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
        return kernels['cpu'].weight_grad_3x3(x, grad, *padding, not weight.is_contiguous())
    return torch.ops.aten.convolution_backward(grad, x, weight, None, stride, padding, dilation, False, (0, 0), groups,
                                               (False, True, False))[1]


def _is_filtered(x, weight, grad, stride, dilation, groups):
    if x.device.type not in kernels or x.device.type != 'cpu' or x.dtype != torch.float32:
        return False
    if weight.shape[2:] != (3, 3) or groups != 1 or tuple(stride) != (1, 1) or tuple(dilation) != (1, 1):
        return False
    return len(grad) * -(-grad.size(2) // 4) * -(-grad.size(3) // 4) >= LEAST_TILES
