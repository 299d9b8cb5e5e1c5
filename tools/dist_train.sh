#!/usr/bin/env bash
# Trains on NGPUS GPUs of each machine, or on NGPUS CPU processes where there is no GPU.
# Several machines: run it on each with the same NNODES, MASTER_ADDR and PORT, and its own NODE_RANK.
# NUMA_BINDING=node keeps each process on the processors beside its GPU (torchrun's --numa-binding).
# With MAX_RESTARTS a training whose process ends goes on, that many times, from its last checkpoint.
if [ $# -lt 2 ]; then
    echo "usage: [PORT=29500 NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 MAX_RESTARTS=0 NUMA_BINDING=node] $0 CONFIG NGPUS [options of train.py]" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$2" train.py "$1" "${@:3}"
