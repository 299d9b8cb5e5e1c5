"""Runs a function of a test module in two gloo processes and gives back what each returned."""
import torch
from torch import distributed as dist
from torch import multiprocessing


def _process(rank, function, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save(function(rank), folder / f'{rank}.pth')
    dist.destroy_process_group()


def run(function, folder):
    """[function(0), function(1)], each computed in its own process. function: of a module's top level."""
    # Not by a fork of this process: threads that autograd may have started in it do not survive one.
    multiprocessing.start_processes(_process, (function, folder), nprocs=2, start_method='forkserver')
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]
