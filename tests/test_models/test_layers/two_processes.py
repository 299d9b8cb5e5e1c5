"""Runs a function of a test module in two gloo processes and gives back what each returned."""
import torch
from torch import distributed as dist
from torch import multiprocessing
from warm_process import CONTEXT, start


def _process(rank, function, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save(function(rank), folder / f'{rank}.pth')
    dist.destroy_process_group()


def _pair(function, folder):
    import torch._dynamo  # noqa: F401  as DistributedDataParallel would in each
    multiprocessing.start_processes(_process, (function, folder), nprocs=2, start_method='fork')


def run(function, folder):
    """[function(0), function(1)], each computed in its own process. function: of a module's top level."""
    # Forked from a process that has imported what they need. It is not this one: threads that autograd may have started
    # here do not survive a fork.
    pair = CONTEXT.Process(target=_pair, args=(function, folder))
    start(pair)
    pair.join()
    assert pair.exitcode == 0
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]
