#!/usr/bin/env bash
# Detects on NGPUS GPUs of each machine, or on NGPUS CPU processes where there is no GPU; see dist_train.sh.
if [ $# -lt 3 ]; then
    echo "usage: [PORT=29500 NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1] $0 INPUTS MODEL NGPUS [options of image_demo.py]" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/launch.sh" "$3" image_demo.py "$1" "$2" "${@:4}"
