#!/usr/bin/env bash
# Starts a tool of this folder through Slurm: slurm_launch.sh PARTITION JOB_NAME TOOL ARGUMENTS.
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
PER_NODE=()
[ "$GPUS_PER_NODE" -gt 0 ] && PER_NODE=(--gres="gpu:$GPUS_PER_NODE" --ntasks-per-node="$GPUS_PER_NODE")
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-python}
# A wrong path ends here, before the job waits for its machines; unless this machine has no Python for it.
if "$PYTHON" -c 'import importlib.util, mmdet.command_line; assert importlib.util.find_spec("mmengine")' 2> /dev/null; then
    "$PYTHON" "$TOOLS/launch.py" check "$TOOLS/$3" "${@:4}" || exit
fi
# SRUN_ARGS holds several options, so it is split on purpose.
COMMAND=(srun -p "$1" --job-name="$2" --ntasks="$GPUS" "${PER_NODE[@]}" --cpus-per-task="${CPUS_PER_TASK:-5}"
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$PYTHON" -u "$TOOLS/$3" "${@:4}" --launcher slurm)
"${COMMAND[@]}"
STATUS=$?
# 75: a signal stopped the training with a checkpoint. A batch job starts again later and goes on from there; without
# one this waits for resources and goes on, where REQUEUE=1 asks for it.
while [ $STATUS -eq 75 ]; do
    if [ -n "$SLURM_JOB_ID" ]; then
        scontrol requeue "$SLURM_JOB_ID"
        break
    fi
    [ "$REQUEUE" = 1 ] || break
    "${COMMAND[@]}" --resume
    STATUS=$?
done
exit $STATUS
