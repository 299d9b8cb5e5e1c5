"""The weight gradient of a convolution."""
import torch

from mmdet.ops.dispatch import has_cpu_kernels, kernels

DTYPES = {torch.float32, torch.bfloat16}
LEAST_TILES = 16  # of 4 x 4 output positions; for fewer, what is made of the weights takes longer than what is saved
FIXED_TILES = 8  # as many as take the time of what does not depend on their number


def conv2d_weight_grad(x, weight_shape, grad, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, offset=None,
                       scale=1., rough=False):
    """The sum over all output positions of the gradient there times the input patch under it.

    For a 3x3 convolution of stride 1 on the CPU our own kernel takes 0.3 to 0.5 of the time of PyTorch's in float32, by
    Winograd's minimal filtering, and rounds no worse.

    Args:
        x (Tensor): (B, Cin, H, W).
        weight_shape (tuple): (Cout, Cin/groups, kh, kw).
        grad (Tensor): (B, Cout, H', W').
        stride, padding, dilation, groups: the convolution's.
        offset (Tensor or None): (Cout,) of the result's dtype, taken off `grad` first.
        scale (float): the result is multiplied by it.
        rough (bool): allow that kernel's error to be 25 times as large (about 3e-5 of the largest result), where it is
            faster then: on maps of 7x7 and 14x14 it takes 0.65 of the time, of 40x40 0.8, on larger ones 0.85.

    Returns:
        Tensor: (Cout, Cin/groups, kh, kw), contiguous, in the widest of float32 and the dtypes of x and grad.
    """
    if (_num_tiles(grad, 4) >= LEAST_TILES and has_cpu_kernels(x)
            and {x.dtype, grad.dtype} <= DTYPES and groups == 1 and tuple(weight_shape[2:]) == (3, 3)
            and tuple(stride) == tuple(dilation) == (1, 1)):
        x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
        larger = min((7, 8), key=lambda tile: _num_products(grad, tile))
        rough = rough and _num_products(grad, larger) < .95 * _num_products(grad, 4)
        return kernels['cpu'].weight_grad_3x3(x, grad, offset, *padding, False, larger if rough else 4, scale)
    dtype = torch.promote_types(torch.promote_types(x.dtype, grad.dtype), torch.float32)
    x, grad = x.to(dtype), grad.to(dtype)
    if offset is not None:
        grad = grad - offset.view(-1, 1, 1)
    result = torch.nn.grad.conv2d_weight(x, weight_shape, grad, stride, padding, dilation, groups).contiguous()
    return result if scale == 1 else result * scale


def _num_products(grad, size):
    """Of each pair of channels, by tiles of this size."""
    return (_num_tiles(grad, size) + FIXED_TILES) * (size + 2)**2


def _num_tiles(grad, size):
    return len(grad) * -(-grad.size(2) // size) * -(-grad.size(3) // size)
