"""A model whose weights are averages over the training; mmengine's EMAHook keeps one and tests it."""
import math
from typing import Any

from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.registry import MODELS


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """An exponential moving average that follows the model closely at first.

    custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True)]

    Args:
        model: the model to average.
        momentum: weight of the newest weights in the end; in step t it is (1 - momentum) exp(-(1 + t) / gamma) +
            momentum.
        gamma: steps in which the weight falls to that.
        interval, device, update_buffers: mmengine's.

    Source: YOLOX (arXiv 2107.08430); the numbers follow mmdetection 3.3's ExpMomentumEMA.
    """

    def __init__(self, model: nn.Module, momentum: float = 0.0002, gamma: int = 2000, interval: int = 1,
                 device: Any = None, update_buffers: bool = False):
        super().__init__(model, momentum, interval, device, update_buffers)
        if not gamma > 0:
            raise UserError(f'ExpMomentumEMA: gamma must be positive, got {gamma}')
        self.gamma = gamma

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move `averaged_param` towards `source_param`, in place; `steps` updates came before."""
        weight = (1 - self.momentum) * math.exp(-float(1 + steps) / self.gamma) + self.momentum
        averaged_param.lerp_(source_param, weight)
