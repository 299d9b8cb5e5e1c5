"""How the variance of a convolution's output depends on its weights."""
import torch
from torch import Tensor

from mmdet.ops.scatter_matrix import scatter_matrix
from mmdet.ops.weight_grad import conv2d_weight_grad


@torch.no_grad()
def variance_slope(x: Tensor, weight: Tensor, y: Tensor, mean: Tensor, patch: Tensor, stride: tuple[int, ...] = (1, 1),
                   padding: tuple[int, ...] = (0, 0), dilation: tuple[int, ...] = (1, 1), groups: int = 1,
                   rows: Tensor | None = None) -> Tensor:
    """Derivative of the variance of each channel of y = conv2d(x, weight) by its weights. No gradient flows through it.

    It is 2/N times the sum over the N positions of y - mean times the patch under it: the convolution's weight gradient
    for the output gradient y - mean. Where a 1x1 convolution has fewer inputs than outputs, the covariances of the
    inputs give it with less work.

    Tried on CPUs and not worth it: one call for this and for the backward's own weight gradient, as one of 2 Cout
    channels (no faster); the covariance of the patches where they are larger than 1x1 (Cin kh kw > Cout).

    Args:
        x (Tensor): (B, Cin, H, W). weight (Tensor): (Cout, Cin/groups, kh, kw). y (Tensor): (B, Cout, H', W').
        mean (Tensor): (Cout,), y's, float32 or wider.
        patch (Tensor): (Cin, kh, kw), mean_patch of x, in the dtype of `mean`.
        stride, padding, dilation, groups: the convolution's.
        rows (Tensor or None): bool (B,), the images whose variance it is, and whose means `mean` and `patch` are.

    Returns:
        Tensor: (Cout, Cin/groups, kh, kw), contiguous, in the dtype of `mean`.

    Raises:
        ValueError or TypeError: shapes, dtypes or devices that do not fit.
    """
    if x.dim() != 4 or weight.dim() != 4 or y.dim() != 4 or not y.numel():
        raise ValueError('variance_slope: x, weight and y must have 4 dimensions, and y elements, got '
                         f'{tuple(x.shape)}, {tuple(weight.shape)} and {tuple(y.shape)}')
    cout, cin = weight.shape[:2]
    count = y.numel() // cout
    share = .5 if x.device.type == 'cpu' else 1  # of the products: scatter matrices are symmetric
    pointwise = weight.shape[2:] == stride == (1, 1) and groups == 1 and padding == (0, 0)
    if pointwise and cin * (share * count + cout) < count * cout:
        if rows is not None:
            x = torch.where(rows.view(-1, 1, 1, 1), x, patch.to(x.dtype))
        slope = (weight.to(mean.dtype).flatten(1) @ scatter_matrix(x, patch.flatten())).view_as(weight).mul_(2 / count)
    else:
        slope = conv2d_weight_grad(x, weight.shape, y, stride, padding, dilation, groups, offset=mean, scale=2 / count,
                                   rough=True, rows=rows)
    return slope if rows is None else slope * (len(rows) / rows.sum().clamp(min=1).to(slope.dtype))
