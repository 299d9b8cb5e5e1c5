"""Deformable convolution (arXiv 1703.06211, 1811.11168)."""
import torch
from torch import Tensor


def deform_conv2d(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None,
                  stride: tuple[int, ...] = (1, 1), padding: tuple[int, ...] = (0, 0),
                  dilation: tuple[int, ...] = (1, 1), mask: Tensor | None = None) -> Tensor:
    """A convolution whose every weight reads where an offset moves it, by torchvision on every device.

    Args:
        x (Tensor): (B, Cin, H, W), floating point.
        offset (Tensor): (B, 2 * D * kh * kw, H', W') in pixels, for each of D groups of channels and each weight of
            the window first down, then to the right.
        weight (Tensor): (Cout, Cin/groups, kh, kw).
        bias (Tensor or None): (Cout,).
        stride, padding, dilation (tuple): of height and width, in pixels.
        mask (Tensor or None): (B, D * kh * kw, H', W'), by which what is read is multiplied.

    Returns:
        Tensor: (B, Cout, H', W') in x's dtype, contiguous, computed in float32 or wider, differentiable by all tensors.

    Raises:
        RuntimeError: shapes, dtypes or devices that do not fit.
    """
    from torchvision.ops import deform_conv2d as of_torchvision  # takes a second
    wide = torch.promote_types(x.dtype, torch.float32)  # its CPU kernel knows no bfloat16
    parts = [None if part is None else part.to(wide) for part in (x, offset, weight, bias, mask)]
    with torch.autocast(x.device.type, enabled=False):
        out = of_torchvision(*parts[:4], stride, padding, dilation, parts[4])
    return out.to(x.dtype)
