"""What a checkpoint holds beside weights and optimizer, so that a resumed run goes on as if it had never stopped."""
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch import distributed as dist

from .distributed import unwrap
from .loops import EpochBasedTrainLoop
from .random_state import gather_random_states, set_random_state


def collect_training_state(runner: Runner) -> dict[str, Any]:
    """Entries of a checkpoint's meta. Every process must call it; what the others hold comes to the first."""
    loop = runner.train_loop
    batches = loop.dataloader.batch_sampler
    return dict(epoch_length=len(loop.dataloader), random_states=gather_random_states(runner.random_state),
                sampler_seed=getattr(batches.sampler, 'seed', None), sample_seed=getattr(batches, 'seed', None),
                partial_gradients=_gather_partial_gradients(runner))


def restore_training_state(runner: Runner, meta: dict[str, Any], filename: str) -> None:
    """Go on where `meta` says, which is emptied of large entries."""
    loop = runner.train_loop
    gradients = meta.pop('partial_gradients', None)
    loop.validated = meta.get('validated', False)
    if isinstance(loop, EpochBasedTrainLoop) and meta.get('epoch_length') != len(loop.dataloader):
        # Other batches than then (or mmengine's checkpoint, which does not tell): the epoch is begun again.
        loop._iter = loop._epoch * len(loop.dataloader)
        gradients = None
    batches = loop.dataloader.batch_sampler
    if meta.get('sampler_seed') is not None and hasattr(batches.sampler, 'seed'):
        batches.sampler.seed = meta['sampler_seed']
    if meta.get('sample_seed') is not None:
        for part in (loop, runner.val_loop):
            if part is not None:
                part.dataloader.batch_sampler.seed = meta['sample_seed']
    states = meta.get('random_states', [])
    if len(states) == runner.world_size:
        set_random_state(states[runner.rank])
    elif states:
        runner.logger.warning(f'{filename} was written by {len(states)} processes, these are {runner.world_size}: '
                              'the random numbers will differ from those of an unbroken run')
    if gradients and len(gradients) == runner.world_size:
        _set_gradients(unwrap(runner.model), gradients[runner.rank])
    elif _accumulates(runner.optim_wrapper, loop.iter):
        runner.logger.warning(f'{filename} was written between two steps of the optimizer, and the gradients that were '
                              'accumulated by then are not in it (or of another number of processes)')


def _accumulates(wrapper: Any, iteration: int) -> bool:
    """Whether the optimizer waits for further gradients after `iteration` batches."""
    wrappers = [wrapper] if isinstance(wrapper, OptimWrapper) else getattr(wrapper, 'optim_wrappers', {}).values()
    return any(iteration % each._accumulative_counts for each in wrappers)


def _gather_partial_gradients(runner: Runner) -> list[dict[str, Tensor]] | None:
    """What each process has accumulated since the last step of the optimizer; None just behind a step."""
    if not _accumulates(runner.optim_wrapper, runner.optim_wrapper._inner_count):
        return None
    own = {name: parameter.grad.cpu() for name, parameter in unwrap(runner.model).named_parameters()
           if parameter.grad is not None}
    if not dist.is_initialized():
        return [own]
    gathered: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(own, gathered)
    return gathered


def _set_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in gradients:
            # In the weight's order in memory, as backward leaves it.
            parameter.grad = parameter.detach().clone().copy_(gradients[name])
