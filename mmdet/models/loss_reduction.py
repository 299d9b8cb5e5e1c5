"""How a loss of many elements becomes one number, for losses of your own: mmdetection's names and results."""
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """`loss` as it is ('none'), its mean ('mean') or its sum ('sum')."""
    if reduction not in ('none', 'mean', 'sum'):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    return loss if reduction == 'none' else loss.mean() if reduction == 'mean' else loss.sum()


def weight_reduce_loss(loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean',
                       avg_factor: float | Tensor | None = None) -> Tensor:
    """`loss` times `weight`, reduced; with `avg_factor` the mean is the sum over it, and 'sum' is a ValueError."""
    if weight is not None:
        loss = loss * weight
    if avg_factor is None:
        return reduce_loss(loss, reduction)
    if reduction == 'mean':
        return loss.sum() / (avg_factor + torch.finfo(torch.float32).eps)
    if reduction != 'none':
        raise ValueError('avg_factor can not be used with reduction="sum"')
    return loss


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of (pred, target, ...) -> elementwise loss, as one that also takes weight, reduction, avg_factor."""
    @functools.wraps(loss_func)
    def wrapper(pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = 'mean',
                avg_factor: float | Tensor | None = None, **kwargs: Any) -> Tensor:
        return weight_reduce_loss(loss_func(pred, target, **kwargs), weight, reduction, avg_factor)
    return wrapper
