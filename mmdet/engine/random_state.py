"""The state of every random generator a process draws from, in a form a checkpoint may hold."""
import contextlib
import random
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import distributed as dist


def get_random_state() -> dict:
    """State of Python's, NumPy's and PyTorch's generators, the current GPU's included, as numbers and tensors."""
    name, keys, *rest = cast(tuple, np.random.get_state())
    state: dict[str, Any] = dict(python=random.getstate(), numpy=(name, keys.tolist(), *rest),
                                 torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Put back what get_random_state returned."""
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextlib.contextmanager
def host_generators_kept() -> Iterator[None]:
    """Put the generators on the host back, in the end, to where they are now."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def gather_random_states(own: dict | None = None) -> list[dict]:
    """The states of all processes, by rank; of this one `own`, else today's. Every process must call it."""
    own = own or get_random_state()
    if not dist.is_initialized():
        return [own]
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, own)
    return states
