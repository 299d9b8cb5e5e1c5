#!/usr/bin/env bash
# Trains through Slurm. GPUS_PER_NODE=0 asks for none: GPUS then counts CPU processes.
# A training that SIGTERM or SIGUSR1 stops (SRUN_ARGS=--signal=USR1@120 sends it two minutes before the time is up)
# writes a checkpoint. In a batch job it is then requeued; REQUEUE=1 does the same without one.
if [ $# -lt 4 ]; then
    echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=... REQUEUE=0] $0 PARTITION JOB_NAME CONFIG WORK_DIR" \
         "[options of train.py]" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/slurm_launch.sh" "$1" "$2" train.py "$3" --work-dir="$4" "${@:5}"
