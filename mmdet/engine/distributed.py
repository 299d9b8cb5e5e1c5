"""Starts the processes of one run: NCCL on GPUs, gloo on CPUs, launched by torchrun, Slurm or MPI."""
import atexit
import datetime
import inspect
import os
import subprocess
import time
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from mmdet.errors import UserError

from .peers import interface_of, meet_peers, own_address

# What each launcher calls a process's rank, their number, and its rank on its own machine.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
# PyTorch 2.15 has renamed this option of DistributedDataParallel, and warns of the former name.
SYNC_BUFFERS = next(name for name in ('forward_sync_buffers', 'broadcast_buffers')
                    if name in inspect.signature(DistributedDataParallel).parameters)


def device_type() -> str:
    """'cuda' where there is a GPU, else 'cpu'."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def ddp_options(cfg: Config, given: dict[str, Any]) -> dict[str, Any]:
    """Of DistributedDataParallel, with those `given`. mmengine gives it a CUDA device, which it refuses on the CPU."""
    options = {SYNC_BUFFERS: False, 'find_unused_parameters': cfg.get('find_unused_parameters', False),
               'gradient_as_bucket_view': True,
               'device_ids': [torch.cuda.current_device()] if device_type() == 'cuda' else None, **given}
    if 'broadcast_buffers' in given:
        options[SYNC_BUFFERS] = options.pop('broadcast_buffers')
    return options


def exchange_gradients_in(dtype: str | None, model: nn.Module) -> nn.Module:
    """`model`, a DistributedDataParallel, whose processes send each other gradients in 'bfloat16', or as they are.

    That is half the traffic, and each mean is rounded to 8 bits, a relative error of up to 0.4 %.

    Raises:
        UserError: another dtype, or a model wrapper that is no DistributedDataParallel.
    """
    if dtype is None:
        return model
    if dtype != 'bfloat16':
        raise UserError(f"model_wrapper_cfg.gradient_dtype={dtype!r} must be 'bfloat16' or None")
    if not isinstance(model, DistributedDataParallel):
        raise UserError(f'model_wrapper_cfg.gradient_dtype needs a DistributedDataParallel, not {type(model).__name__}')
    model.register_comm_hook(None, bf16_compress_hook)
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """The detector itself, out of the DistributedDataParallel and the test-time augmentation it may stand in."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast(nn.Module, model.module)
    return model


def start_process_group(launcher: str, backend: str = 'nccl', timeout: float | None = None,
                        port: int | None = None) -> None:
    """Join the group of processes that `launcher` started.

    Args:
        backend: used on GPUs; CPUs talk through gloo.
        timeout: seconds.
        port: of rank 0; by default $MASTER_PORT or 29500, under Slurm one that the job's number decides.

    Raises:
        UserError: the launcher has not set its variables, a GPU is missing, or the other processes do not come.
    """
    if launcher not in VARIABLES:
        raise UserError(f'unknown launcher {launcher!r}; known: none, {", ".join(VARIABLES)}')
    unset = [name for name in VARIABLES[launcher] if name not in os.environ]
    if unset:
        raise UserError(f'--launcher {launcher} was asked for, but {unset[0]} is not set: start this through '
                        'tools/dist_train.sh, torchrun, srun or mpirun')
    rank, world_size, local_rank = (os.environ[name] for name in VARIABLES[launcher])
    os.environ.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_slurm_host() if launcher == 'slurm' else '127.0.0.1'
    os.environ['MASTER_PORT'] = str(port or os.environ.get('MASTER_PORT') or own_port())
    kwargs: dict[str, Any] = {} if timeout is None else dict(timeout=datetime.timedelta(seconds=timeout))
    interface = interface_of(own_address())
    if interface:  # else gloo takes the one that the machine's name stands for, often 127.0.1.1
        os.environ.setdefault('GLOO_SOCKET_IFNAME', interface)
    device = None
    if device_type() == 'cuda':
        gpus = torch.cuda.device_count()
        if int(local_rank) >= gpus:
            raise UserError(f'process {local_rank} of this machine has no GPU: there are {gpus}. Start at most that '
                            'many processes, or hide the GPUs with CUDA_VISIBLE_DEVICES=-1 to run on the CPU')
        torch.cuda.set_device(int(local_rank))
        device = torch.device('cuda', int(local_rank))  # NCCL connects now, not in the first step
    try:
        store = next(rendezvous('env://', **kwargs))[0]
        dist.init_process_group(backend if device_type() == 'cuda' else 'gloo', store=store, rank=int(rank),
                                world_size=int(world_size), device_id=device, **kwargs)
        meet_peers(store)
    except RuntimeError as error:
        raise UserError(f'the {world_size} processes did not meet at {os.environ["MASTER_ADDR"]}:'
                        f'{os.environ["MASTER_PORT"]} ({str(error).splitlines()[0]}). Each machine needs the same '
                        'NNODES, MASTER_ADDR and PORT, a NODE_RANK of its own and an open way to the first') from error
    if device_type() == 'cpu':
        atexit.register(_leave)


def _leave() -> None:
    # A gloo thread that drops the tensors of its last work needs Python's lock. Where Python has begun to end it gets
    # none, and aborts the process (seen once in 20 ends on a busy machine). While this thread sleeps it gets it.
    if dist.is_initialized():
        dist.destroy_process_group()
        time.sleep(0.2)


def own_port() -> int:
    """29500, or where Slurm started the processes one for the job and its step: jobs that share a machine differ."""
    job, step = (int(os.environ.get(f'SLURM_{name}_ID', 0)) for name in ('JOB', 'STEP'))
    return 29500 if not job else 15000 + (job * 16 + step % 16) % 15000


def _first_slurm_host() -> str:
    hosts = subprocess.run(['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
                           capture_output=True, text=True, check=True)
    return hosts.stdout.split()[0]
