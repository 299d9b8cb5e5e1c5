"""Mixed precision on any machine: float16 or bfloat16 on GPUs, bfloat16 on CPUs."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

from mmdet.errors import UserError
from mmdet.registry import OPTIM_WRAPPERS

from .distributed import device_type
from .machine import multiplies_bfloat16


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """OptimWrapper whose forward runs under autocast and whose float16 gradients are scaled.

    Args:
        loss_scale: 'dynamic', a fixed float, or a dict of torch.amp.GradScaler's arguments; used with float16 alone.
        dtype: 'float16' or 'bfloat16'; by default float16 on GPUs and bfloat16 on CPUs, which compute float16 slowly.
            A CPU without instructions for bfloat16 takes three times as long as in float32: there it stays in float32
            unless dtype is 'bfloat16'.
    """

    def __init__(self, loss_scale: str | float | dict = 'dynamic', dtype: str | torch.dtype | None = None,
                 **kwargs: Any):
        super().__init__(**kwargs)
        forced = dtype in ('bfloat16', torch.bfloat16)
        dtype = dtype or ('float16' if device_type() == 'cuda' else 'bfloat16')
        dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if dtype not in (torch.float16, torch.bfloat16):
            raise UserError(f'optim_wrapper.dtype must be "float16" or "bfloat16", not {dtype!r}')
        if device_type() == 'cpu' and dtype is torch.float16:
            print_log('optim_wrapper.dtype is float16; on CPU bfloat16 is used in its place', logger='current')
            dtype = torch.bfloat16
        self.casts = device_type() != 'cpu' or forced or multiplies_bfloat16()
        if not self.casts:
            print_log('This CPU has no instructions for bfloat16 and would take three times as long as in float32: '
                      'training stays in float32. To force it: --cfg-options optim_wrapper.dtype=bfloat16',
                      logger='current', level=logging.WARNING)
        self.cast_dtype = dtype
        self._fixed_scale = loss_scale if isinstance(loss_scale, (int, float)) else None
        scaling: dict[str, Any]
        if self._fixed_scale is not None:
            scaling = dict(init_scale=float(self._fixed_scale))
        elif loss_scale == 'dynamic':
            scaling = {}
        elif isinstance(loss_scale, dict):
            scaling = loss_scale
        else:
            raise UserError(f'optim_wrapper.loss_scale must be "dynamic", a number or a dict, not {loss_scale!r}')
        self.loss_scaler = torch.amp.GradScaler(device_type(), enabled=dtype is torch.float16, **scaling)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), \
                torch.autocast(device_type(), dtype=self.cast_dtype, enabled=self.casts):
            yield

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._fixed_scale)

    def state_dict(self) -> dict:
        return {**super().state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        scaler_state = state_dict.pop('loss_scaler', None)
        if scaler_state:  # empty when written with bfloat16
            self.loss_scaler.load_state_dict(scaler_state)
        super().load_state_dict(state_dict)
