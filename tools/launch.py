"""torchrun with what mmdetection's scripts expect: launch.py PROCESSES SCRIPT ARGUMENTS.

NNODES, NODE_RANK, MASTER_ADDR and PORT place the processes; one machine without PORT takes a free port.
PROCESSES counts GPUs. Where there is none it counts CPU processes, which share the cores.
"""
import os
import socket
import sys

import torch
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def main():
    processes, *script = sys.argv[1:]
    if not processes.isdigit() or int(processes) < 1:
        sys.exit(f'error: the number of GPUs (of processes, without a GPU) must be 1 or more, not {processes!r}')
    nodes = os.environ.get('NNODES', '1')
    port = os.environ.get('PORT') or (str(free_port()) if nodes == '1' else '29500')
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = 1 if torch.cuda.is_available() else max(cores // int(processes), 1)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    os.environ.setdefault('MKL_NUM_THREADS', os.environ['OMP_NUM_THREADS'])
    try:
        run.main([f'--nnodes={nodes}', f'--node-rank={os.environ.get("NODE_RANK", "0")}',
                  f'--master-addr={os.environ.get("MASTER_ADDR", "127.0.0.1")}', f'--master-port={port}',
                  f'--nproc-per-node={processes}', *script])
    except ChildFailedError as error:  # the process has said why
        sys.exit(next((failure.exitcode for failure in error.failures.values() if failure.exitcode > 0), 1))


if __name__ == '__main__':
    main()
