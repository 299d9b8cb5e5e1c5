"""torchrun with what mmdetection's scripts expect: launch.py PROCESSES SCRIPT ARGUMENTS.

NNODES, NODE_RANK, MASTER_ADDR and PORT place the processes; one machine without PORT takes a free port. A training
whose process ends goes on up to MAX_RESTARTS times from its last checkpoint. NUMA_BINDING=node keeps each process on
the processors beside its GPU.
PROCESSES counts GPUs. Where there is none it counts CPU processes, which share the cores. With the word `check` in its
place the script only reads its arguments: slurm_launch.sh asks this before it asks for machines.
"""
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

from mmdet.command_line import plain_errors

OUT_OF_MEMORY = ', perhaps because the memory of the machine was full'


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def check_arguments(script):
    """Let a tool of this folder read its arguments once before its processes start: a missing file ends all here."""
    if script and Path(script[0]).resolve().parent == Path(__file__).resolve().parent:
        sys.argv = script
        with plain_errors():
            runpy.run_path(script[0])['parse_args']()


def main():
    processes, *script = sys.argv[1:] or ['']
    if processes == 'check':
        return check_arguments(script)
    if not processes.isdigit() or int(processes) < 1:
        sys.exit(f'error: the number of GPUs (of processes, without a GPU) must be 1 or more, not {processes!r}')
    check_arguments(script)

    import torch
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    nodes = os.environ.get('NNODES', '1')
    port = os.environ.get('PORT') or (str(free_port()) if nodes == '1' else '29500')
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = 1 if torch.cuda.is_available() else max(cores // int(processes), 1)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    os.environ.setdefault('MKL_NUM_THREADS', os.environ['OMP_NUM_THREADS'])
    # Passed on to the processes, which need a step's time and that of a checkpoint.
    os.environ.setdefault('PET_SIGNALS_TO_HANDLE', 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1')
    os.environ.setdefault('TORCH_ELASTIC_SHUTDOWN_TIMEOUT', '300')
    binding = [f'--numa-binding={os.environ["NUMA_BINDING"]}'] if os.environ.get('NUMA_BINDING') else []
    if binding and not torch.cuda.is_available():
        print('note: without a GPU NUMA_BINDING changes nothing', file=sys.stderr)
        binding = []
    try:
        run.main([f'--nnodes={nodes}', f'--node-rank={os.environ.get("NODE_RANK", "0")}',
                  f'--master-addr={os.environ.get("MASTER_ADDR", "127.0.0.1")}', f'--master-port={port}',
                  f'--nproc-per-node={processes}', f'--max-restarts={os.environ.get("MAX_RESTARTS", "0")}', *binding,
                  *script])
    except SignalException as error:
        sys.exit(130 if error.sigval == signal.SIGINT else 75)
    except ChildFailedError as error:
        for rank, failure in sorted(error.failures.items()):
            if failure.exitcode < 0:  # else the process has said why
                print(f'error: process {rank} of this run (process id {failure.pid}) was ended by signal '
                      f'{-failure.exitcode} ({signal.Signals(-failure.exitcode).name})'
                      f'{OUT_OF_MEMORY if failure.exitcode == -signal.SIGKILL else ""}', file=sys.stderr)
        sys.exit(next((failure.exitcode for failure in error.failures.values() if failure.exitcode > 0), 1))


if __name__ == '__main__':
    main()
