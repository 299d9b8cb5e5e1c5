"""torch's fused optimizers, which update all parameters in one kernel, wherever a config leaves the choice open."""
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mmdet.registry import OPTIMIZERS, known_types, unknown_type


def choose_kernel(optimizer_cfg: dict, model: nn.Module) -> dict:
    """The config of an optimizer, with fused=True if it is SGD, Adam or AdamW and can be for the parameters of `model`.

    A config that says `fused`, `foreach` or `differentiable` stays as it is.
    """
    kind = optimizer_cfg.get('type')
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
        if kind is None:
            raise unknown_type(optimizer_cfg['type'], known_types(OPTIMIZERS), 'optim_wrapper.optimizer')
    if kind not in (SGD, Adam, AdamW) or not {'fused', 'foreach', 'differentiable'}.isdisjoint(optimizer_cfg):
        return optimizer_cfg
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # On CPUs the kernels go through memory in order, so a parameter's must hold nothing else.
    dense = all(torch.empty_like(parameter).stride() == parameter.stride() for parameter in parameters)
    kinds = {(parameter.device, parameter.dtype) for parameter in parameters}
    if dense and all(_has_kernel(kind, *where) for where in kinds):
        return {**optimizer_cfg, 'fused': True}
    return optimizer_cfg


def _has_kernel(kind: Callable[..., Optimizer], device: torch.device, dtype: torch.dtype) -> bool:
    probe = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
    probe.grad = torch.zeros_like(probe)
    try:
        kind([probe], lr=0., fused=True).step()
    except (RuntimeError, TypeError):
        return False
    return True


def keep_kernel(optimizer: Optimizer) -> None:
    """Let `optimizer` load any checkpoint and still run the kernel that its config asked for."""
    if 'fused' in optimizer.defaults:
        optimizer.register_load_state_dict_pre_hook(_own_choice)
        optimizer.register_load_state_dict_post_hook(_like_parameters)


def _own_choice(optimizer: Optimizer, state_dict: dict) -> dict:
    # Else the kernel would be that of the run which wrote the checkpoint.
    own = {key: optimizer.defaults[key] for key in ('fused', 'foreach')}
    return {**state_dict, 'param_groups': [{**group, **own} for group in state_dict['param_groups']]}


def _like_parameters(optimizer: Optimizer) -> None:
    # Momentum from elsewhere may lie in memory in another order than a channels-last weight; a fused kernel on the CPU
    # would pair the wrong numbers and not say so.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
