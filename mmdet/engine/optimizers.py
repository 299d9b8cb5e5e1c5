"""Optimizers that configs name and torch.optim has not, or has under another name in mmengine's registry."""
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Adafactor, Optimizer

from mmdet.errors import UserError
from mmdet.registry import OPTIMIZERS

OPTIMIZERS.register_module(name='Adafactor', module=Adafactor)


@OPTIMIZERS.register_module()
class Lion(Optimizer):
    """Every weight moves by lr in the direction of its momentum (arXiv 2302.06675, algorithm 2).

    Args:
        params: parameters or groups of them.
        lr: learning rate; 3 to 10 times smaller than AdamW's.
        betas: of the step and of the momentum.
        weight_decay: decoupled, as AdamW's; 3 to 10 times larger than there.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0.):
        if not lr >= 0 or not weight_decay >= 0 or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(f'Lion: lr={lr} and weight_decay={weight_decay} must not be negative, betas={betas} must '
                            'be two numbers from 0 to 1')
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure` gives the loss anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum = state.setdefault('exp_avg', torch.zeros_like(parameter))
                of_step, of_momentum = group['betas']
                parameter.mul_(1 - group['lr'] * group['weight_decay'])
                parameter.sub_(momentum.lerp(parameter.grad, 1 - of_step).sign_(), alpha=group['lr'])
                momentum.lerp_(parameter.grad, 1 - of_momentum)
        return loss
